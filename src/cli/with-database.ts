import { openDataDir } from '../db/data-dir.ts';
import { Database } from '../db/database.ts';
import { startEmbeddedPostgres } from '../db/embedded.ts';
import { createLogger } from '../log.ts';

export interface DatabaseSettings {
  readonly dataDir: string;
  readonly databaseUrl: string | null;
}

/**
 * Runs `work` on the database itself, without a server: on yours, or on the embedded one, which is started for
 * it. Throws `data_dir_in_use` while a server runs on the embedded one.
 */
export async function withDatabase<T>(
  { dataDir, databaseUrl }: DatabaseSettings,
  work: (database: Database) => Promise<T>,
): Promise<T> {
  const log = createLogger('warn');
  await using stack = new AsyncDisposableStack();
  const url = databaseUrl ?? (await embedded(stack, dataDir, log));
  const database = new Database({ url, name: 'command', maxConnections: 1, log });
  stack.defer(() => database.close());
  return await work(database);
}

async function embedded(
  stack: AsyncDisposableStack,
  path: string,
  log: ReturnType<typeof createLogger>,
): Promise<string> {
  const dataDir = openDataDir(path);
  stack.defer(() => dataDir.close());
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  stack.defer(() => postgres.stop());
  return postgres.url;
}
