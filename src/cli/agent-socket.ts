import { join } from 'node:path';
import { Option } from 'commander';
import { CarnetError, errorCodeOf } from '../errors.ts';

/** The option by which clients of the agent find it. */
export function agentSocketOption(): Option {
  return new Option(
    '--agent-socket <PATH>',
    "the agent's socket; or CARNET_AGENT_SOCKET (default: <data-dir>/agent.sock, where data-dir is CARNET_DATA_DIR or ./carnet-data)",
  );
}

/** The agent's socket: the flag, else the environment, else where a server started here puts it. */
export function agentSocketOf(
  flags: { readonly agentSocket?: string },
  env: NodeJS.ProcessEnv = process.env,
): string {
  return (
    flags.agentSocket ?? env.CARNET_AGENT_SOCKET ?? join(env.CARNET_DATA_DIR ?? 'carnet-data', 'agent.sock')
  );
}

/** What an agent, or the lack of one, answered to a command of this process, with what to do about it. */
export function advisedOf(error: unknown, socket: string): unknown {
  if (!(error instanceof CarnetError)) return error;
  const advice = adviceOf(error, socket);
  return advice === null
    ? error
    : new CarnetError(error.code, `${error.message} ${advice}`, { cause: error });
}

function adviceOf(error: CarnetError, socket: string): string | null {
  if (errorCodeOf(error) === 'permission_denied')
    return `(this process has unix:uid:${process.geteuid?.()}; see carnet entry create --help)`;
  return /^connect (?:ENOENT|ECONNREFUSED) /.test(error.message)
    ? `(no agent listens at ${socket}: start one, or name its socket with --agent-socket)`
    : null;
}
