import { type DataDir, openDataDir } from '../db/data-dir.ts';
import { Database } from '../db/database.ts';
import { embeddedUrl, startEmbeddedPostgres } from '../db/embedded.ts';
import { errorCodeOf } from '../errors.ts';
import { createLogger } from '../log.ts';

export interface DatabaseSettings {
  readonly dataDir: string;
  readonly databaseUrl: string | null;
}

/** For work that reads all there is. */
export interface ReadingOptions {
  readonly maxConnections: number;
  readonly statementTimeoutMs: number;
}

/**
 * Runs `work` on the database itself, without a server: on yours, or on the embedded one, which is started for
 * it. Throws `data_dir_in_use` while a server runs on the embedded one; but with `reading` it then works beside it.
 */
export async function withDatabase<T>(
  { dataDir, databaseUrl }: DatabaseSettings,
  work: (database: Database) => Promise<T>,
  reading?: ReadingOptions,
): Promise<T> {
  const log = createLogger('warn');
  await using stack = new AsyncDisposableStack();
  const url = databaseUrl ?? (await embedded(stack, dataDir, log, reading !== undefined));
  const database = new Database({ url, name: 'command', maxConnections: 1, ...reading, log });
  stack.defer(() => database.close());
  return await work(database);
}

async function embedded(
  stack: AsyncDisposableStack,
  path: string,
  log: ReturnType<typeof createLogger>,
  besideServer: boolean,
): Promise<string> {
  const dataDir = openUnlessInUse(path, besideServer);
  if (dataDir === null) return embeddedUrl(path);
  stack.defer(() => dataDir.close());
  const postgres = await startEmbeddedPostgres({ dataDir, log });
  stack.defer(() => postgres.stop());
  return postgres.url;
}

/** Null while a server has it, where that is no hindrance. */
function openUnlessInUse(path: string, besideServer: boolean): DataDir | null {
  try {
    return openDataDir(path);
  } catch (error) {
    if (besideServer && errorCodeOf(error) === 'data_dir_in_use') return null;
    throw error;
  }
}
