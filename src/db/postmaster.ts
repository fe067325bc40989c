import { closeSync, fchownSync, openSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CarnetError } from '../errors.ts';
import { type Cluster, POSTGRES_ENVIRONMENT } from './cluster.ts';
import { spawnAs } from './postgres-account.ts';
import { boundLog, lastWords } from './postgres-log.ts';
import { isPostmasterOf, isRunning, readPidFile } from './postmaster-pid.ts';

/** A running PostgreSQL server: its first process. */
export interface Postmaster {
  readonly pid: number;
  /** Resolves when the process has ended, however it did. */
  readonly exited: Promise<void>;
}

const POLL_MS = 10;
/** Crash recovery of the log since the last checkpoint is part of a start. */
const START_TIMEOUT_MS = 120_000;
/** Fast shutdown, immediate shutdown, and the kernel's word; each with the time that it is given. */
const SHUTDOWN = [
  ['SIGINT', 5_000],
  ['SIGQUIT', 2_000],
  ['SIGKILL', 2_000],
] as const;

export function logPathOf(cluster: Cluster): string {
  return join(cluster.directory, 'postgres.log');
}

/**
 * Starts PostgreSQL on the cluster and waits until it accepts connections. The caller holds the data
 * directory's lock, so a postmaster that a killed Carnet left behind is an orphan: it is stopped first.
 *
 * Throws `database_unavailable` with the server's own words if it doesn't come up, or when `signal` aborts.
 */
export async function startPostmaster(
  cluster: Cluster,
  settings: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Postmaster> {
  const recorded = readPidFile(cluster.directory);
  if (recorded && isPostmasterOf(recorded.pid, cluster.directory)) await stopOrphan(recorded.pid);
  const logPath = logPathOf(cluster);
  boundLog(logPath);
  const logStart = statSync(logPath, { throwIfNoEntry: false })?.size ?? 0;
  const stalePid = recorded && !isPostmasterOf(recorded.pid, cluster.directory) ? recorded.pid : undefined;
  const postmaster = spawnPostmaster(cluster, settings, logPath, stalePid);
  if (!(await becomesReady(postmaster, cluster.directory, signal)))
    throw new CarnetError(
      'database_unavailable',
      `the embedded PostgreSQL did not start: ${lastWords(logPath, logStart)} (see ${logPath})`,
    );
  return postmaster;
}

/** Stops a server in bounded time: gently, then at once (it recovers at its next start), then by kill -9. */
export async function stopPostmaster({ pid, exited }: Postmaster): Promise<void> {
  for (const [signal, waitMs] of SHUTDOWN) {
    if (!isRunning(pid)) break;
    sendSignal(pid, signal);
    if (await settlesWithin(exited, waitMs)) return;
  }
}

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    // It may have ended since it was looked at, an orphan without leaving a trace.
    if (isRunning(pid)) throw error;
  }
}

function spawnPostmaster(
  cluster: Cluster,
  settings: Readonly<Record<string, string>>,
  logPath: string,
  stalePid: number | undefined,
): Postmaster {
  const log = openSync(logPath, 'a', 0o600);
  try {
    if (cluster.account.kind === 'user') fchownSync(log, cluster.account.uid, cluster.account.gid);
    const options = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const args = ['-D', cluster.directory, ...options];
    const child = spawnAs(cluster.account, cluster.binaries.postgres, args, {
      cwd: '/',
      stdio: ['ignore', log, log],
      // A lock file's pid may by now be another process's (always so after a container's restart), and then
      // PostgreSQL would refuse. We know that it isn't a postmaster, and pass it as the one process besides
      // itself that PostgreSQL takes for no rival. Memory that old backends still hold is checked all the same.
      env: { ...POSTGRES_ENVIRONMENT, ...(stalePid && { PG_GRANDPARENT_PID: String(stalePid) }) },
    });
    const exited = new Promise<void>((resolve) => {
      child.once('exit', () => resolve()).once('error', () => resolve());
    });
    return { pid: child.pid ?? 0, exited };
  } finally {
    closeSync(log);
  }
}

async function becomesReady(
  postmaster: Postmaster,
  directory: string,
  signal: AbortSignal,
): Promise<boolean> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < deadline && !signal.aborted) {
    if (await settlesWithin(postmaster.exited, POLL_MS)) return false;
    const recorded = readPidFile(directory);
    if (recorded?.pid === postmaster.pid && recorded.ready) return true;
  }
  await stopPostmaster(postmaster);
  return false;
}

async function stopOrphan(pid: number): Promise<void> {
  const gone = new AbortController();
  const exited = (async () => {
    while (isRunning(pid) && !gone.signal.aborted) await sleep(POLL_MS);
  })();
  await stopPostmaster({ pid, exited });
  gone.abort();
}

async function settlesWithin(promise: Promise<void>, milliseconds: number): Promise<boolean> {
  const timer = new AbortController();
  try {
    return await Promise.race([
      promise.then(() => true),
      sleep(milliseconds, false, { signal: timer.signal }),
    ]);
  } finally {
    timer.abort();
  }
}
