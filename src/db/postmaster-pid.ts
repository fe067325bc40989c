import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * What the cluster's postmaster.pid says: its first line is the process ID, the eighth the state (PostgreSQL's
 * miscadmin.h). Undefined where there is none, or none that can be read yet.
 */
export function readPidFile(directory: string): { pid: number; ready: boolean } | undefined {
  const lines = readOrEmpty(join(directory, 'postmaster.pid')).split('\n');
  const pid = Number(lines[0]);
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined;
  return { pid, ready: lines[7]?.trim() === 'ready' };
}

/**
 * Whether the process is a running postmaster of the cluster: by its command line, which unlike its working
 * directory is readable without CAP_SYS_PTRACE.
 */
export function isPostmasterOf(pid: number, directory: string): boolean {
  const [program = '', flag, path] = readOrEmpty(`/proc/${pid}/cmdline`).split('\0');
  return isRunning(pid) && program.endsWith('/postgres') && flag === '-D' && path === directory;
}

/** A zombie, which nobody may reap where there is no init, doesn't run. */
export function isRunning(pid: number): boolean {
  const stat = readOrEmpty(`/proc/${pid}/stat`);
  return stat !== '' && !/^[ZX]/.test(stat.slice(stat.lastIndexOf(')') + 2));
}

/** Empty also for what may not be read: then PostgreSQL, which looks itself, gives the reason. */
function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
