import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Ended, runCarnet } from '../../test/support/carnet.ts';
import { type BenchDatabase, startBenchDatabase } from './database.ts';
import { type Fleet, startFleet } from './fleet.ts';

const PROGRAM = join(import.meta.dirname, 'replica-process.ts');
/** An agent serves so many at most (agent/caller-socket.ts: the limit on one user's connections). */
const PROXIES_OF_AN_AGENT = 4000;
const LEAST = 2;

/** Replicas in processes of their own, on one PostgreSQL, each with an agent that has its share of the proxies. */
export interface BenchReplicas extends AsyncDisposable {
  readonly database: BenchDatabase['database'];
  readonly agentSockets: readonly string[];
  readonly fleets: readonly Fleet[];
  /** Calls the first of them as admin; throws for anything but 2xx. */
  call(method: string, path: string, body?: unknown): Promise<unknown>;
  /** Runs an operator's command against the first of them. */
  cli(...args: string[]): Promise<Ended>;
}

/** Starts as many as the proxies need, and has these connect. */
export async function startBenchReplicas(proxies: number): Promise<BenchReplicas> {
  await using stack = new AsyncDisposableStack();
  const { database, url, directory } = stack.use(await startBenchDatabase());
  const key = randomBytes(32).toString('hex');
  const count = Math.max(LEAST, Math.ceil(proxies / PROXIES_OF_AN_AGENT));
  const fleets: Fleet[] = [];
  const urls: string[] = [];
  const dataDirs: string[] = [];
  for (let number = 0; number < count; number++) {
    const fleet = startFleet();
    const dataDir = join(directory, `replica-${number}`);
    const replica = await startReplica(fleet.pid, number * PROXIES_OF_AN_AGENT, {
      CARNET_DATA_DIR: dataDir,
      CARNET_DATABASE_URL: url,
      CARNET_HTTP_ADDR: '127.0.0.1:0',
      CARNET_GRPC_ADDR: '127.0.0.1:0',
      CARNET_NODE_NAME: `node-${number}`,
      CARNET_LOG_LEVEL: 'error',
      CARNET_KEY_ENCRYPTION_KEY: key,
    });
    stack.use(replica);
    // Before its agent: a client of which the stream is ended has failed.
    stack.defer(() => fleet.stop());
    fleets.push(fleet);
    urls.push(replica.url);
    dataDirs.push(dataDir);
  }
  const tokenFile = join(dataDirs[0] ?? '', 'admin.token');
  const owned = stack.move();
  return {
    database,
    agentSockets: dataDirs.map((dataDir) => join(dataDir, 'agent.sock')),
    fleets,
    call: async (method, path, body) => {
      const authorization = `Bearer ${readFileSync(tokenFile, 'utf8').trim()}`;
      const response = await fetch(`${urls[0]}${path}`, {
        method,
        headers: { authorization, 'content-type': 'application/json' },
        body: body === undefined ? null : JSON.stringify(body),
      });
      const text = await response.text();
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
      return text === '' ? null : JSON.parse(text);
    },
    cli: (...args) => runCarnet([...args, '--server', urls[0] ?? '', '--token-file', tokenFile]),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

export interface Replica extends AsyncDisposable {
  readonly url: string;
  readonly pid: number;
}

/** Resolves when it serves. Should it end before it is told to, the benchmark ends as if interrupted. */
export async function startReplica(
  fleetPid: number,
  first: number,
  settings: NodeJS.ProcessEnv,
): Promise<Replica> {
  const child = fork(PROGRAM, [String(fleetPid), String(first)], { env: { ...process.env, ...settings } });
  const exited = once(child, 'exit');
  let stopping = false;
  child.once('exit', () => {
    if (!stopping) process.kill(process.pid, 'SIGTERM');
  });
  const [url] = (await once(child, 'message')) as [string];
  return {
    url,
    pid: child.pid ?? -1,
    [Symbol.asyncDispose]: async () => {
      stopping = true;
      child.disconnect();
      await exited;
    },
  };
}
