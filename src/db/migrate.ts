import { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { runner } from 'node-pg-migrate';
import pg from 'pg';
import type { Logger } from '../log.ts';
import { toCarnetError, unavailable } from './database-error.ts';

export interface MigrateOptions {
  /** The connection of a running server. */
  readonly url: string;
  /** The connection of the tables' owner; null where it is the server's own. */
  readonly ownerUrl: string | null;
  readonly log: Logger;
}

const MIGRATIONS = fileURLToPath(new URL('../../migrations', import.meta.url));
const CONNECT_TIMEOUT_MS = 5_000;
/** For the migrations lock, which another replica may hold for as long as its migration takes, and for tables. */
const LOCK_TIMEOUT_MS = 60_000;
const STATEMENT_TIMEOUT_MS = 600_000;
/** Of a migration that says of itself that it takes as long as it takes. */
const LONGEST_MS = 2 * 3_600_000;
const CLOSE_GRACE_MS = 1_000;
/** Any number will do, as long as it is Carnet's own: "carnet" in ASCII. */
const MIGRATIONS_LOCK = 0x6361726e6574;

/**
 * Brings the schema up to date: numbered SQL files, forward only, all in one transaction, one replica at a time.
 * Then, where the owner is another role, lets the server's role read everything, add to history, change what
 * lives, and no more. Returns the names of the migrations that were run.
 *
 * Throws `database_unavailable`, `timeout`.
 */
export async function migrate({ url, ownerUrl, log }: MigrateOptions): Promise<string[]> {
  return withClient(ownerUrl ?? url, async (owner) => {
    const ran = await runner({
      dbClient: owner,
      dir: MIGRATIONS,
      direction: 'up',
      schema: 'public',
      migrationsTable: 'carnet_migration',
      advisoryLockMode: 'wait',
      lockValue: MIGRATIONS_LOCK,
      logger: { info: () => undefined, warn: log.warn.bind(log), error: log.error.bind(log) },
    });
    if (ran.length > 0) log.info({ migrations: ran.map(({ name }) => name) }, 'the database was migrated');
    if (ownerUrl !== null) {
      const role = await withClient(url, roleOf);
      if (role !== (await roleOf(owner)))
        await owner.query('SELECT carnet_grant_runtime(quote_ident($1)::regrole)', [role]);
    }
    return ran.map(({ name }) => name);
  });
}

async function roleOf(client: pg.Client): Promise<string> {
  const { rows } = await client.query<{ role: string }>('SELECT current_user AS role');
  return rows[0]?.role ?? '';
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const socket = new Socket();
  const client = new pg.Client({
    connectionString: url,
    application_name: 'carnet migrate',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    lock_timeout: LOCK_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: LONGEST_MS,
    keepAlive: true,
    stream: () => socket,
  });
  // The statement under way reports the loss of the connection too.
  client.on('error', () => undefined);
  try {
    await client.connect().catch((error: unknown) => {
      throw unavailable(error);
    });
    return await work(client);
  } catch (error) {
    throw toCarnetError(error);
  } finally {
    await Promise.race([client.end(), sleep(CLOSE_GRACE_MS, undefined, { ref: false })]);
    socket.destroy();
  }
}
