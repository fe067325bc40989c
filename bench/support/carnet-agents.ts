import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Program, type ProgramOptions, startProgram } from './program.ts';

const CHECKOUT = resolve(import.meta.dirname, '../..');
const STANDING_IN = join(import.meta.dirname, 'standing-in.ts');
const CALLERS = join(import.meta.dirname, 'callers.py');
/** Where a program finds the packages that it needs, and nobody looks for sources. */
const BUILT = join(CHECKOUT, `node_modules/.cache/carnet-bench-${process.pid}`);

export interface AgentProgram extends Program {
  readonly socket: string;
}

export interface AgentSettings {
  readonly server: string;
  readonly joinToken: string;
  readonly socket: string;
}

/** `carnet agent` as it is packaged, which knows its callers by what the kernel tells of them. */
export async function startBuiltAgent(settings: AgentSettings): Promise<AgentProgram> {
  const tsc = join(CHECKOUT, 'node_modules/.bin/tsc');
  const remove = (): void => rmSync(BUILT, { recursive: true, force: true });
  process.once('exit', remove);
  const { status } = spawnSync(tsc, ['-p', join(CHECKOUT, 'tsconfig.build.json'), '--outDir', BUILT], {
    stdio: 'inherit',
  });
  if (status !== 0) throw new Error(`the build ended with ${status}`);
  const program = [process.execPath, join(BUILT, 'main.js'), 'agent'] as const;
  return startAgentProgram(program, settings, { signal: 'SIGTERM' });
}

/** An agent to which each connection is a container of its own, numbered from `first` on. */
export function startStandingIn(first: number, settings: AgentSettings): Promise<AgentProgram> {
  return startAgentProgram([process.execPath, STANDING_IN, String(first)], settings, {});
}

/** Whoever connects to `socket` gets a process of his own, which connects to the agent's socket for him. */
export function startCallers(agentSocket: string, socket: string): Promise<Program> {
  return startProgram(['python3', CALLERS, agentSocket, socket]);
}

async function startAgentProgram(
  program: readonly [string, ...string[]],
  { server, joinToken, socket }: AgentSettings,
  options: ProgramOptions,
): Promise<AgentProgram> {
  const env = {
    CARNET_SERVER_ADDR: server,
    CARNET_JOIN_TOKEN: joinToken,
    CARNET_AGENT_SOCKET: socket,
    CARNET_LOG_LEVEL: 'error',
  };
  return { ...(await startProgram(program, { env, ...options })), socket };
}
