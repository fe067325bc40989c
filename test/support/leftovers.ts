import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';

const GONE_TIMEOUT_MS = 5_000;

/** Ends what tests left running (where they were interrupted, or failed). Returns their command lines. */
export async function endLeftovers(directory: string): Promise<string[]> {
  const found = processesOf(directory);
  for (const { pid } of found) kill(pid);
  const deadline = performance.now() + GONE_TIMEOUT_MS;
  while (processesOf(directory).length > 0 && performance.now() < deadline) await pause(20);
  return found.map(({ command }) => command);
}

/**
 * The processes of a directory, but for ourselves: that have it in their command line, for their TMPDIR, or, as
 * all of a PostgreSQL have, that work in it.
 */
export function processesOf(directory: string): { pid: number; command: string }[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.flatMap((name) => {
    const command = read(`/proc/${name}/cmdline`).replaceAll('\0', ' ');
    const ours =
      command.includes(directory) ||
      read(`/proc/${name}/environ`).includes(`TMPDIR=${directory}`) ||
      workingDirectory(name).startsWith(directory);
    return ours && Number(name) !== process.pid ? [{ pid: Number(name), command }] : [];
  });
}

function workingDirectory(pid: string): string {
  try {
    return readlinkSync(`/proc/${pid}/cwd`);
  } catch {
    return '';
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

/** Empty for a process that has ended, or that isn't ours to look into. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
