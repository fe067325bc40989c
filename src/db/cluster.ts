import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { CarnetError } from '../errors.ts';
import { accountOf, chooseAccount, giveTo, type PostgresAccount, spawnAs } from './postgres-account.ts';
import type { PostgresBinaries } from './postgres-binaries.ts';

/** A PostgreSQL data directory, and how PostgreSQL is run on it. */
export interface Cluster {
  /** Absolute; it also holds the Unix socket. Mode 0700. */
  readonly directory: string;
  readonly account: PostgresAccount;
  readonly binaries: PostgresBinaries;
}

/** The role and the database that the embedded PostgreSQL is made with. */
export const EMBEDDED_ROLE = 'carnet';
export const EMBEDDED_DATABASE = 'carnet';

/** sun_path holds 108 bytes with its terminating zero (unix(7)). */
const MAX_SOCKET_PATH_BYTES = 107;
const SOCKET_NAME = '.s.PGSQL.5432';
const PROGRAM_TIMEOUT_MS = 120_000;
/** The environment is given whole: no PG* variable or locale of ours may change what PostgreSQL does. */
export const POSTGRES_ENVIRONMENT = { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };

/** Written to postgresql.conf once; from then on they are the operator's. For a small machine and no replica. */
const FIRST_SETTINGS = {
  max_connections: '60',
  shared_buffers: '128MB',
  max_wal_size: '1GB',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_logical_replication_workers: '0',
  io_method: 'sync',
  max_parallel_workers_per_gather: '0',
  jit: 'off',
  random_page_cost: '1.1',
  log_checkpoints: 'off',
} satisfies Record<string, string>;

/**
 * Opens the cluster in `<dataDir>/postgres`, and makes it first if there is none. It is made aside and renamed
 * into place, so that one which was interrupted is never taken for a whole one.
 *
 * Throws `config_invalid`, also where the path is too long for a Unix socket, and when `signal` aborts the making.
 */
export async function openCluster(
  dataDir: string,
  binaries: PostgresBinaries,
  signal: AbortSignal,
): Promise<Cluster> {
  const directory = join(dataDir, 'postgres');
  checkSocketPath(directory);
  if (!existsSync(directory)) await makeCluster(dataDir, directory, binaries, signal);
  return { directory, account: await accountOf(directory, binaries.postgres), binaries };
}

async function makeCluster(
  dataDir: string,
  directory: string,
  binaries: PostgresBinaries,
  signal: AbortSignal,
): Promise<void> {
  const account = await chooseAccount(binaries.postgres, dataDir);
  const unfinished = `${directory}.new`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { mode: 0o700 });
  giveTo(account, unfinished);
  const settings = Object.entries(FIRST_SETTINGS).flatMap(([name, value]) => ['--set', `${name}=${value}`]);
  const locale = ['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'];
  // Whoever reaches the socket in the 0700 directory could as well rewrite the files: trust gives nothing away.
  const access = ['--auth=trust', `--username=${EMBEDDED_ROLE}`, '--no-instructions'];
  await run(account, binaries.initdb, ['-D', unfinished, ...access, ...locale, ...settings], signal);
  const singleUser = ['--single', '-D', unfinished, '-c', 'exit_on_error=on', 'postgres'];
  await run(account, binaries.postgres, singleUser, signal, `CREATE DATABASE ${EMBEDDED_DATABASE}\n`);
  renameSync(unfinished, directory);
}

function checkSocketPath(directory: string): void {
  const path = join(directory, SOCKET_NAME);
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_SOCKET_PATH_BYTES)
    throw new CarnetError(
      'config_invalid',
      `the path of the embedded database's socket, ${path}, has ${bytes} bytes, and the system permits ${MAX_SOCKET_PATH_BYTES}: choose a shorter --data-dir`,
    );
}

/**
 * Runs a program to its end, which `signal` may hasten. Throws `config_invalid` with the end of its output if it
 * fails.
 */
async function run(
  account: PostgresAccount,
  program: string,
  args: string[],
  signal: AbortSignal,
  stdin = '',
): Promise<void> {
  const child = spawnAs(account, program, args, { env: POSTGRES_ENVIRONMENT, cwd: '/', stdio: 'pipe' });
  const over = AbortSignal.any([signal, AbortSignal.timeout(PROGRAM_TIMEOUT_MS)]);
  const end = (): void => killGroup(child);
  over.addEventListener('abort', end, { once: true });
  if (over.aborted) end();
  let output = '';
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString()).slice(-2000);
  };
  child.stdout?.on('data', keep);
  child.stderr?.on('data', keep);
  child.stdin?.on('error', () => undefined).end(stdin);
  const result = await new Promise<string | number | null>((resolve) => {
    child
      .once('error', (error) => resolve(error.message))
      .once('close', (code, name) => resolve(code ?? name));
  });
  over.removeEventListener('abort', end);
  if (result !== 0)
    throw new CarnetError(
      'config_invalid',
      `the embedded database could not be made: ${program} ended with ${result}: ${output.trim()}`,
    );
}

/** The program and what it started: initdb runs PostgreSQL itself. */
function killGroup({ pid, exitCode, signalCode }: ChildProcess): void {
  if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, 'SIGKILL');
}
