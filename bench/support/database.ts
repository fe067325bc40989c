import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openDataDir } from '../../src/db/data-dir.ts';
import { Database } from '../../src/db/database.ts';
import { startEmbeddedPostgres } from '../../src/db/embedded.ts';
import { migrate } from '../../src/db/migrate.ts';
import { createLogger } from '../../src/log.ts';
import { postgresCpuMicros } from './cpu.ts';

export interface BenchDatabase extends AsyncDisposable {
  readonly database: Database;
  /** For other processes. */
  readonly url: string;
  /** Where it is, and other files of the benchmark may be. */
  readonly directory: string;
  /** Of PostgreSQL's processes, all of them. */
  postgresCpuMicros(): number;
}

const STATEMENT_TIMEOUT_MS = 600_000;
/** As a shell has it of a program that Ctrl-C ends. */
const INTERRUPTED = 130;

/**
 * An embedded PostgreSQL as in production, but for `settings` (postgresql.conf), with the tables, in a directory of its
 * own; with it, all goes.
 */
export async function startBenchDatabase(
  settings: Readonly<Record<string, string>> = {},
): Promise<BenchDatabase> {
  await using stack = new AsyncDisposableStack();
  const directory = mkdtempSync(join(tmpdir(), 'carnet-bench-'));
  stack.defer(() => rmSync(directory, { recursive: true, force: true }));
  // PostgreSQL may run as another user than we do.
  chmodSync(directory, 0o755);
  const log = createLogger('warn');
  const dataDir = openDataDir(directory);
  stack.defer(() => dataDir.close());
  const postgres = await startEmbeddedPostgres({ dataDir, log, settings });
  stack.defer(() => postgres.stop());
  await migrate({ url: postgres.url, ownerUrl: null, log });
  const options = { name: 'bench', maxConnections: 2, statementTimeoutMs: STATEMENT_TIMEOUT_MS };
  const database = new Database({ url: postgres.url, log, ...options });
  stack.defer(() => database.close());
  const owned = stack.move();
  endWith(owned);
  return {
    database,
    url: postgres.url,
    directory,
    postgresCpuMicros: () => postgresCpuMicros(postgres.pid),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Whatever ends the benchmark early, no process and no file of it stays. */
function endWith(owned: AsyncDisposableStack): void {
  let ending = false;
  const end = (exitCode: number): void => {
    // What is under way fails from now on.
    if (!ending) void owned.disposeAsync().finally(() => process.exit(exitCode));
    ending = true;
  };
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => end(INTERRUPTED));
  process.on('uncaughtException', (error) => {
    if (!ending) process.stderr.write(`${error.stack}\n`);
    end(1);
  });
}
