import { readdirSync, readFileSync } from 'node:fs';

/** USER_HZ, in which /proc counts: 100 on every Linux that Node runs on. */
const MICROS_PER_TICK = 10_000;

/** CPU time, user and system, over a stretch of time. */
export interface CpuUse {
  /** Of this process, all its threads. */
  readonly nodeMicros: number;
  readonly postgresMicros: number;
  /** How many CPUs all other processes had on average: what they had, we hadn't. */
  readonly othersCpus: number;
}

/** Begins to measure; the function that it returns tells what was used since. */
export function startCpuMeter(postgresCpuMicros: () => number): () => CpuUse {
  const begin = performance.now();
  const [node, postgres, machine] = [nodeCpuMicros(), postgresCpuMicros(), machineCpuMicros()];
  return () => {
    const nodeMicros = nodeCpuMicros() - node;
    const postgresMicros = postgresCpuMicros() - postgres;
    const othersMicros = machineCpuMicros() - machine - nodeMicros - postgresMicros;
    const elapsedMicros = (performance.now() - begin) * 1000;
    return { nodeMicros, postgresMicros, othersCpus: Math.max(0, othersMicros / elapsedMicros) };
  };
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

/** CPU time of a process since it began, all its threads: microseconds, in steps of 10 ms. */
export function processCpuMicros(pid: number): number {
  return ticksOf(pid, 'alone') * MICROS_PER_TICK;
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

function nodeCpuMicros(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** Of everything on this machine since it booted (proc_stat(5)). */
function machineCpuMicros(): number {
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softIrq = 0] = readFileSync('/proc/stat', 'latin1')
    .split('\n', 1)
    .join('')
    .split(/ +/)
    .map(Number);
  return (user + nice + system + irq + softIrq) * MICROS_PER_TICK;
}
