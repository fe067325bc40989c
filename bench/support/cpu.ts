import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ, in which /proc counts: 100 on every Linux that Node runs on. */
const MICROS_PER_TICK = 10_000;

/** CPU time of this process, all its threads, user and system, since it began. Microseconds. */
export function nodeCpuMicros(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/**
 * CPU time of a PostgreSQL server since it began: its first process, every child that runs now (backends,
 * checkpointer, WAL writer, …), and those that have ended. Microseconds, in steps of 10 ms for each process.
 */
export function postgresCpuMicros(postmasterPid: number): number {
  let ticks = ticksOf(postmasterPid, 'with ended children');
  for (const child of childrenOf(postmasterPid)) ticks += ticksOf(child, 'alone');
  return ticks * MICROS_PER_TICK;
}

function childrenOf(pid: number): number[] {
  const processes = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return processes.map(Number).filter((child) => statOf(child)[PARENT] === pid);
}

/** Places in /proc/<pid>/stat, counted from the field behind the command's name (proc_pid_stat(5)). */
const PARENT = 1;
const USER = 11;
const SYSTEM = 12;
const CHILDREN_USER = 13;
const CHILDREN_SYSTEM = 14;

function ticksOf(pid: number, which: 'alone' | 'with ended children'): number {
  const stat = statOf(pid);
  const places = which === 'alone' ? [USER, SYSTEM] : [USER, SYSTEM, CHILDREN_USER, CHILDREN_SYSTEM];
  return places.reduce((sum, place) => sum + (stat[place] ?? 0), 0);
}

/** Empty for a process that has ended since it was listed: its time is then its parent's. */
function statOf(pid: number): number[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat
      .slice(stat.lastIndexOf(')') + 2)
      .split(' ')
      .map(Number);
  } catch {
    return [];
  }
}
