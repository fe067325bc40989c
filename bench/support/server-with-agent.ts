import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from '../../test/support/free-port.ts';
import type { AgentSettings } from './carnet-agents.ts';
import { type BenchDatabase, startBenchDatabase } from './database.ts';
import { startReplica } from './replicas.ts';

/** A server in a process of its own, with an agent in it to which each of our connections is a container of its own. */
export interface ServerWithAgent extends AsyncDisposable {
  readonly pid: number;
  readonly directory: string;
  /** Of the agent in it, whose node is called `server`. */
  readonly socket: string;
  /** What another agent needs to join as this node. */
  join(node: string): Promise<AgentSettings>;
  /** Has the workloads with these selectors get this identity: another version of it at each call. */
  grant(entry: { id: string; spiffe_id: string; selectors: string[]; dns_names: string[] }): Promise<void>;
  readonly postgresCpuMicros: BenchDatabase['postgresCpuMicros'];
}

export async function startServerWithAgent(): Promise<ServerWithAgent> {
  await using stack = new AsyncDisposableStack();
  const { url: databaseUrl, directory, postgresCpuMicros } = stack.use(await startBenchDatabase());
  const dataDir = join(directory, 'server');
  const address = `127.0.0.1:${await freePort()}`;
  const { url, pid } = stack.use(
    await startReplica(process.pid, 0, {
      CARNET_DATA_DIR: dataDir,
      CARNET_DATABASE_URL: databaseUrl,
      CARNET_HTTP_ADDR: '127.0.0.1:0',
      CARNET_GRPC_ADDR: address,
      CARNET_NODE_NAME: 'server',
      CARNET_LOG_LEVEL: 'error',
      CARNET_KEY_ENCRYPTION_KEY: randomBytes(32).toString('hex'),
    }),
  );
  const post = async (path: string, body: unknown): Promise<unknown> => {
    const authorization = `Bearer ${readFileSync(join(dataDir, 'admin.token'), 'utf8').trim()}`;
    const headers = { authorization, 'content-type': 'application/json' };
    const response = await fetch(`${url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`POST ${path}: ${response.status} ${await response.text()}`);
    return response.json();
  };
  const owned = stack.move();
  return {
    pid,
    directory,
    socket: join(dataDir, 'agent.sock'),
    join: async (node) => {
      const { token } = (await post('/v1/join-tokens', { node, selectors: [] })) as { token: string };
      return { server: address, joinToken: token, socket: join(directory, `${node}.sock`) };
    },
    grant: async (entry) => void (await post('/v1/entries:apply', { entries: [entry], prune: false })),
    postgresCpuMicros,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
