import { join } from 'node:path';
import { Option } from 'commander';

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
