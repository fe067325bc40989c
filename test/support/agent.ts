import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type CarnetProcess, directoryOf, type Ended, runCarnet, spawnCarnet, type User } from './carnet.ts';
import { freePort } from './free-port.ts';
import { until } from './until.ts';

/** A `carnet agent` in a process of its own, in a directory that it alone has. */
export interface AgentProcess extends AsyncDisposable {
  readonly socket: string;
  readonly dataDir: string;
  /** Of its health and metrics. */
  readonly url: string;
  readonly pid: number;
  /** All that it wrote so far, over all starts. */
  log(): string;
  /** Resolves when workloads are served, with the milliseconds that this start took until then. */
  ready(): Promise<number>;
  /** Resolves when it has ended by itself, to its exit code. */
  ended(): Promise<number | null>;
  /** kill -9. */
  kill(): Promise<void>;
  /** Starts it again, and waits for nothing. */
  start(): void;
  /** SIGTERM. */
  stop(): Promise<void>;
  /** `carnet fetch` at its socket, as `user` or its own. */
  fetch(user?: User, ...args: string[]): Promise<Ended>;
}

export interface AgentStart {
  /** `HOST:PORT` of servers, with commas. */
  readonly servers: string;
  /** In the environment; none for an agent that needs none. */
  readonly joinToken?: string;
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly user?: User | undefined;
  readonly checkout?: string;
}

/** Starts an agent and waits for nothing. */
export async function launchAgent(options: AgentStart): Promise<AgentProcess> {
  const { servers, joinToken, args = [], user, checkout } = options;
  const dataDir = await directoryOf(user);
  const socket = join(dataDir, 'agent.sock');
  const http = `127.0.0.1:${await freePort()}`;
  const fixed = ['--server-addr', servers, '--data-dir', dataDir, '--http-addr', http];
  const env = {
    NO_COLOR: '1',
    ...(joinToken !== undefined && { CARNET_JOIN_TOKEN: joinToken }),
    ...options.env,
  };
  const as = { env, user, ...(checkout !== undefined && { checkout }) };
  let log = '';
  let child: ChildProcess;
  let startedAt = 0;
  let loggedBefore = 0;

  function start(): void {
    startedAt = performance.now();
    loggedBefore = log.length;
    child = spawnCarnet(['agent', ...fixed, ...args], as);
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        log += text;
      });
  }

  async function end(signal: NodeJS.Signals): Promise<void> {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'close');
    child.kill(signal);
    await ended;
  }

  start();
  return {
    socket,
    dataDir,
    url: `http://${http}`,
    get pid() {
      return child.pid ?? -1;
    },
    log: () => log,
    ready: async () => {
      await until('the agent is ready', () => {
        if (child.exitCode !== null || child.signalCode !== null)
          throw new Error(`carnet agent ended with ${child.exitCode ?? child.signalCode}:\n${log}`);
        return log.slice(loggedBefore).includes('agent is ready');
      });
      return performance.now() - startedAt;
    },
    ended: async () => {
      if (child.exitCode === null && child.signalCode === null) await once(child, 'close');
      return child.exitCode;
    },
    kill: () => end('SIGKILL'),
    start,
    stop: () => end('SIGTERM'),
    fetch: (caller, ...words) =>
      runCarnet(['fetch', '--json', '--agent-socket', socket, ...words], { ...as, user: caller ?? user }),
    [Symbol.asyncDispose]: async () => {
      await end('SIGTERM');
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** A join token for a node. */
export async function joinTokenFor(server: CarnetProcess, node: string): Promise<string> {
  const { token } = (await server.call('POST', '/v1/join-tokens', { node, selectors: [] })) as {
    token: string;
  };
  return token;
}
