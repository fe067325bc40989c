import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, chown, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { freePort } from './free-port.ts';

const CHECKOUT = resolve(import.meta.dirname, '../..');
const READY_TIMEOUT_MS = 110_000;
const POLL_MS = 50;

/** A `carnet server` in a process of its own, on a data directory that it makes itself. */
export interface CarnetProcess {
  readonly dataDir: string;
  readonly agentSocket: string;
  readonly url: string;
  readonly pid: number;
  /** All that it wrote to stdout and stderr so far, over all starts. */
  log(): string;
  /** Resolves when it is ready, with the milliseconds that this start took until then. */
  ready(): Promise<number>;
  /** Calls the REST API as admin; throws for anything but 2xx. */
  call(method: string, path: string, body?: unknown): Promise<unknown>;
  /** Runs `carnet ARGS` against it, as its user. */
  cli(...args: string[]): Promise<Ended>;
  /** kill -9, of the server alone: its Postgres stays. */
  kill(): Promise<void>;
  /** Starts it again on the same data, after `kill()` or `stop()`, and waits for nothing. */
  start(): void;
  /** Starts it again and waits until it is ready. */
  restart(): Promise<number>;
  /** Ctrl-C. */
  stop(): Promise<Stopped>;
  /** Stops whatever is left and removes the data. */
  [Symbol.asyncDispose](): Promise<void>;
}

export interface Stopped {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly ms: number;
}

export interface LaunchOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Whom it runs as: ourselves by default; anybody else needs root. */
  readonly user?: User | undefined;
  /** Of the program, where this one is closed to the user. */
  readonly checkout?: string;
  /** Where the data directory is to be made: by default in a new directory under TMPDIR, which goes with it. */
  readonly parent?: string;
  /** Of its REST interface, where somebody has to know it before; else any. */
  readonly port?: number;
}

export interface User {
  readonly uid: number;
  readonly gid: number;
}

/** Starts a server and waits until it is ready. */
export async function startCarnet(
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<CarnetProcess> {
  const carnet = await launchCarnet(args, { env });
  try {
    await carnet.ready();
    return carnet;
  } catch (error) {
    await carnet[Symbol.asyncDispose]();
    throw error;
  }
}

/** Starts a server and waits for nothing. */
export async function launchCarnet(
  args: readonly string[],
  { env = {}, user, checkout = CHECKOUT, parent, ...chosen }: LaunchOptions = {},
): Promise<CarnetProcess> {
  const directory = parent ?? (await directoryOf(user));
  const dataDir = join(directory, 'data');
  const port = chosen.port ?? (await freePort());
  const url = `http://127.0.0.1:${port}`;
  const agentSocket = join(dataDir, 'agent.sock');
  const options = { env: { NO_COLOR: '1', ...env }, user, checkout };
  let log = '';
  let child: ChildProcess | undefined;
  let startedAt = 0;

  function start(): void {
    startedAt = performance.now();
    const address = ['--data-dir', dataDir, '--http-addr', `127.0.0.1:${port}`];
    const started = spawnCarnet(['server', ...address, ...args], options);
    child = started;
    for (const stream of [started.stdout, started.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => {
        log += text;
      });
  }

  async function ready(): Promise<number> {
    const started = child;
    const deadline = Date.now() + READY_TIMEOUT_MS;
    while (Date.now() < deadline) {
      if (started === undefined || started.exitCode !== null || started.signalCode !== null)
        throw new Error(`carnet server ended with ${started?.exitCode ?? started?.signalCode}:\n${log}`);
      const response = await fetch(`${url}/readyz`).catch(() => null);
      if (response?.ok) return performance.now() - startedAt;
      await pause(POLL_MS);
    }
    throw new Error(`carnet server was not ready within ${READY_TIMEOUT_MS} ms:\n${log}`);
  }

  async function end(signal: NodeJS.Signals): Promise<Stopped> {
    const running = child;
    child = undefined;
    const begin = performance.now();
    if (running === undefined || running.exitCode !== null || running.signalCode !== null)
      return { code: running?.exitCode ?? null, signal: running?.signalCode ?? null, ms: 0 };
    const ended = once(running, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
    running.kill(signal);
    const [code, endedBy] = await ended;
    return { code, signal: endedBy, ms: performance.now() - begin };
  }

  start();
  return {
    dataDir,
    agentSocket,
    url,
    get pid() {
      return child?.pid ?? -1;
    },
    log: () => log,
    start,
    ready,
    call: async (method, path, body) => {
      const token = readFileSync(join(dataDir, 'admin.token'), 'utf8').trim();
      const response = await fetch(url + path, {
        method,
        // A connection kept for the next call would be one to a server that may have been killed since.
        headers: {
          authorization: `Bearer ${token}`,
          'content-type': 'application/json',
          connection: 'close',
        },
        body: body === undefined ? null : JSON.stringify(body),
      });
      const text = await response.text();
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
      return text === '' ? null : JSON.parse(text);
    },
    cli: (...words) => {
      const found = { CARNET_SERVER: url, CARNET_DATA_DIR: dataDir, CARNET_AGENT_SOCKET: agentSocket };
      return runCarnet(words, { ...options, env: { ...options.env, ...found } });
    },
    kill: async () => void (await end('SIGKILL')),
    restart: () => {
      start();
      return ready();
    },
    stop: () => end('SIGINT'),
    [Symbol.asyncDispose]: async () => {
      await end('SIGINT');
      await stopOrphanedPostgres(dataDir);
      await rm(parent === undefined ? directory : dataDir, { recursive: true, force: true });
    },
  };
}

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs `carnet ARGS` to its end. */
export async function runCarnet(args: readonly string[], options: LaunchOptions = {}): Promise<Ended> {
  return endOf(spawnCarnet(args, options));
}

/** Resolves when a program has ended, to all that it wrote. */
export async function endOf(child: ChildProcess): Promise<Ended> {
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code: code ?? -1, stdout, stderr };
}

/** Starts `carnet ARGS`. */
export function spawnCarnet(
  args: readonly string[],
  { env = {}, user, checkout = CHECKOUT }: LaunchOptions = {},
): ChildProcess {
  return spawn(nodeOf(checkout), [join(checkout, 'src/main.ts'), ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // A terminal's Ctrl-C is for whoever started it, who then stops it in order.
    detached: true,
    env: { ...process.env, ...env },
    ...user,
  });
}

/** A new directory under TMPDIR that belongs to the user and that everybody may enter. */
export async function directoryOf(user: User | undefined): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'carnet-e2e-'));
  await chmod(directory, 0o755);
  if (user !== undefined) await chown(directory, user.uid, user.gid);
  return directory;
}

/** The Node that runs us; where it is one of the checkout's own, the other checkout's. */
function nodeOf(checkout: string): string {
  const path = relative(CHECKOUT, process.execPath);
  return path.startsWith('..') ? process.execPath : join(checkout, path);
}

/** The pid of the embedded Postgres of a data directory, or undefined. */
export function postgresPid(dataDir: string): number | undefined {
  try {
    return Number(readFileSync(join(dataDir, 'postgres', 'postmaster.pid'), 'utf8').split('\n')[0]);
  } catch {
    return undefined;
  }
}

/** After a kill -9 of its server a Postgres stays, for the next start to adopt: there is none. */
async function stopOrphanedPostgres(dataDir: string): Promise<void> {
  const pid = postgresPid(dataDir);
  if (pid === undefined) return;
  for (const signal of ['SIGINT', 'SIGKILL'] as const)
    for (let i = 0; i < 100; i++) {
      try {
        process.kill(pid, i === 0 ? signal : 0);
      } catch {
        return;
      }
      await pause(50);
    }
}
