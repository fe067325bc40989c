import { readFileSync } from 'node:fs';
import { readBootId } from './process.ts';
import { RunningContainers } from './running-containers.ts';

/** An instance that is a process, by the boot ID, its number and its start time (unix.ts). */
const PROCESS = /^process:([0-9a-f-]+):(\d+):(\d+)$/;
const CONTAINER = /^container:([0-9a-f]{64})$/;

/**
 * Tells whether an instance, which ran once, is known to run no more: a process of an earlier boot, or whose number
 * nobody has or another process; a container without a process. False where it cannot be told. Waits for nobody, as
 * procfs answers from memory.
 */
export function createHasEnded(procRoot = '/proc'): (instance: string) => boolean {
  const bootId = readBootId(procRoot);
  const containers = new RunningContainers(procRoot);
  return (instance) => {
    const [, id] = CONTAINER.exec(instance) ?? [];
    return id === undefined ? processHasEnded(instance, bootId, procRoot) : containers.hasEnded(id);
  };
}

function processHasEnded(instance: string, bootId: string, procRoot: string): boolean {
  const [, boot, pid, startTicks] = PROCESS.exec(instance) ?? [];
  if (pid === undefined) return false;
  if (boot !== bootId) return true;
  const fields = readStat(procRoot, Number(pid));
  if (fields === null) return !exists(Number(pid), procRoot);
  // proc_pid_stat(5): the state is field 3, the number of threads 20, the start time 22.
  const [state = '', threads, start] = [fields[0], fields[20 - 3], fields[22 - 3]];
  if (start !== startTicks) return true;
  // The first thread of a program may end before the others: then it waits for them as a zombie.
  return state === 'X' || (state === 'Z' && Number(threads) <= 1);
}

/** From field 3 on, which stands behind the name's last parenthesis; null for a process that isn't there to be seen. */
function readStat(procRoot: string, pid: number): string[] | null {
  try {
    const stat = readFileSync(`${procRoot}/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null;
  }
}

/** Where procfs hides processes of other users (hidepid), a signal still tells that there is one. */
function exists(pid: number, procRoot: string): boolean {
  if (procRoot !== '/proc') return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}
