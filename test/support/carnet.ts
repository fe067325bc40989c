import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

const MAIN = resolve(import.meta.dirname, '../../src/main.ts');
const READY_TIMEOUT_MS = 60_000;

/** A `carnet server` in a process of its own, on a data directory under /tmp. */
export interface CarnetProcess {
  readonly dataDir: string;
  readonly agentSocket: string;
  readonly url: string;
  readonly pid: number;
  /** All that it wrote to stderr so far. */
  log(): string;
  /** Calls the REST API as admin; throws for anything but 2xx. */
  call(method: string, path: string, body?: unknown): Promise<unknown>;
  /** Runs `carnet ARGS` against it. */
  cli(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }>;
  /** kill -9, of the server alone: its Postgres stays. */
  kill(): Promise<void>;
  /** Starts it again on the same data, after `kill()` or `stop()`. */
  restart(): Promise<void>;
  /** Ctrl-C. */
  stop(): Promise<{ code: number | null; ms: number }>;
  /** Stops whatever is left and removes the data. */
  [Symbol.asyncDispose](): Promise<void>;
}

export async function startCarnet(
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
): Promise<CarnetProcess> {
  const dataDir = await mkdtemp(join(tmpdir(), 'carnet-e2e-'));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const command = [MAIN, 'server', '--data-dir', dataDir, '--http-addr', `127.0.0.1:${port}`, ...args];
  const environment = { ...process.env, NO_COLOR: '1', ...env };
  let log = '';
  let child: ChildProcess | undefined;

  async function start(): Promise<void> {
    const started = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'pipe'], env: environment });
    child = started;
    for (const stream of [started.stdout, started.stderr])
      stream.setEncoding('utf8').on('data', (text: string) => {
        log += text;
      });
    await ready(started);
  }

  async function ready(started: ChildProcess): Promise<void> {
    const deadline = Date.now() + READY_TIMEOUT_MS;
    while (Date.now() < deadline) {
      if (started.exitCode !== null) throw new Error(`carnet server ended with ${started.exitCode}:\n${log}`);
      const response = await fetch(`${url}/readyz`).catch(() => null);
      if (response?.ok) return;
      await pause(50);
    }
    throw new Error(`carnet server was not ready within ${READY_TIMEOUT_MS} ms:\n${log}`);
  }

  async function end(signal: NodeJS.Signals): Promise<{ code: number | null; ms: number }> {
    const running = child;
    child = undefined;
    const begin = performance.now();
    if (running === undefined || running.exitCode !== null || running.signalCode !== null)
      return { code: running?.exitCode ?? null, ms: 0 };
    running.kill(signal);
    const [code] = (await once(running, 'exit')) as [number | null];
    return { code, ms: performance.now() - begin };
  }

  await start();
  return {
    dataDir,
    agentSocket: join(dataDir, 'agent.sock'),
    url,
    get pid() {
      return child?.pid ?? -1;
    },
    log: () => log,
    call: async (method, path, body) => {
      const token = readFileSync(join(dataDir, 'admin.token'), 'utf8').trim();
      const response = await fetch(url + path, {
        method,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: body === undefined ? null : JSON.stringify(body),
      });
      const text = await response.text();
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
      return text === '' ? null : JSON.parse(text);
    },
    cli: (...words) =>
      run([MAIN, ...words], {
        ...environment,
        CARNET_SERVER: url,
        CARNET_DATA_DIR: dataDir,
        CARNET_AGENT_SOCKET: join(dataDir, 'agent.sock'),
      }),
    kill: async () => void (await end('SIGKILL')),
    restart: start,
    stop: () => end('SIGINT'),
    [Symbol.asyncDispose]: async () => {
      await end('SIGINT');
      await stopOrphanedPostgres(dataDir);
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

/** Runs a Node program to its end. */
export async function run(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'], env });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code: code ?? -1, stdout, stderr };
}

/** A TCP port on 127.0.0.1 that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : 0;
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
