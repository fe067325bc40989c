import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type CarnetProcess, startCarnet } from './carnet.ts';
import { createDatabase, type TestDatabase } from './database.ts';

export interface Authority {
  readonly id: string;
  readonly kind: string;
  readonly state: string;
  /** PEM. */
  readonly certificate: string;
}

/** Servers with an agent each, on one database: what a fleet of nodes is. */
export interface Replicas {
  readonly database: TestDatabase;
  readonly servers: readonly CarnetProcess[];
  /** Calls any one of them as the admin of the first start. */
  call(index: number, method: string, path: string, body?: unknown): Promise<unknown>;
  /** Runs an operator's command against one of them. */
  cli(index: number, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** On a new database, unless one is given: it is dropped in the end. Its sessions say whose they are: `node-0`, … */
export async function startReplicas(
  count: number,
  args: readonly string[],
  given?: TestDatabase,
): Promise<Replicas> {
  const database = given ?? (await createDatabase('empty'));
  const env = { CARNET_KEY_ENCRYPTION_KEY: randomBytes(32).toString('hex') };
  const servers: CarnetProcess[] = [];
  const dispose = async (): Promise<void> => {
    for (const server of servers) await server[Symbol.asyncDispose]();
    await database.drop();
  };
  try {
    for (let i = 0; i < count; i++) {
      const url = new URL(database.url);
      url.searchParams.set('application_name', `node-${i}`);
      servers.push(await startCarnet(['--database-url', url.href, '--node-name', `node-${i}`, ...args], env));
    }
  } catch (error) {
    await dispose();
    throw error;
  }
  const tokenFile = join(servers[0]?.dataDir ?? '', 'admin.token');
  const serverOf = (index: number): CarnetProcess => {
    const server = servers[index];
    if (server === undefined) throw new Error(`there is no replica ${index}`);
    return server;
  };
  return {
    database,
    servers,
    call: async (index, method, path, body) => {
      const response = await fetch(serverOf(index).url + path, {
        method,
        headers: {
          authorization: `Bearer ${readFileSync(tokenFile, 'utf8').trim()}`,
          'content-type': 'application/json',
        },
        body: body === undefined ? null : JSON.stringify(body),
      });
      const text = await response.text();
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text}`);
      return text === '' ? null : JSON.parse(text);
    },
    cli: (index, ...words) => serverOf(index).cli(...words, '--token-file', tokenFile),
    [Symbol.asyncDispose]: dispose,
  };
}

/** All roots, whatever their state, by the word of the first replica. */
export async function rootsOf(replicas: Replicas): Promise<Authority[]> {
  const { items } = (await replicas.call(0, 'GET', '/v1/authorities')) as { items: Authority[] };
  return items.filter(({ kind }) => kind === 'root');
}
