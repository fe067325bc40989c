import { readFileSync } from 'node:fs';
import { CarnetError } from '../errors.ts';
import { type ContainerCgroup, containerOf } from './container-id.ts';
import { printable } from './printable.ts';

/** What /proc says of a process at one moment (proc_pid_stat(5), proc_pid_status(5), cgroups(7)). */
export interface ProcessFacts {
  readonly pid: number;
  /** When it started, in clock ticks since boot (100 a second): with the boot ID it names the process for good. */
  readonly startTicks: number;
  /** The first 15 bytes of its program's name, unless it chose another; printable. */
  readonly name: string;
  /** Effective, as we number users and groups. */
  readonly uid: number;
  readonly gid: number;
  /** Ascending, without repeats. */
  readonly supplementaryGids: readonly number[];
  readonly container: ContainerCgroup | null;
  /** The lines of its cgroup file; printable. */
  readonly cgroups: readonly string[];
}

/** Linux counts /proc's start times in USER_HZ, which is 100 on every architecture that Node runs on. */
export const TICKS_PER_SECOND = 100;

/**
 * Reads a process's facts from a procfs mounted at `procRoot`. Synchronously: procfs answers from memory
 * without waiting for anybody, and the less time passes between the files, the better. (The executable is
 * another matter: executable.ts.) Throws `attestation_failed`.
 */
export function readProcess(procRoot: string, pid: number): ProcessFacts {
  const stat = readProcFile(procRoot, pid, 'stat');
  const status = readProcFile(procRoot, pid, 'status').toString('latin1');
  const cgroups = linesOf(readProcFile(procRoot, pid, 'cgroup'));
  return {
    pid,
    ...parseStat(stat, pid),
    uid: idsIn(status, 'Uid', pid)[1] ?? malformed(pid, 'status'),
    gid: idsIn(status, 'Gid', pid)[1] ?? malformed(pid, 'status'),
    supplementaryGids: [...new Set(idsIn(status, 'Groups', pid))].sort((a, b) => a - b),
    container: containerOf(cgroups),
    cgroups,
  };
}

/** The ID of this boot, with which a process's number and start time are unique. */
export function readBootId(procRoot: string): string {
  return readFileSync(`${procRoot}/sys/kernel/random/boot_id`, 'latin1').trim();
}

/**
 * The number that stands for every user and group that our user namespace doesn't map, and so for nobody in
 * particular; null where it maps them all (user_namespaces(7)).
 */
export function readUnmappedId(procRoot: string): number | null {
  const map = readFileSync(`${procRoot}/self/uid_map`, 'latin1').trim();
  if (/^0\s+0\s+4294967295$/.test(map)) return null;
  return Number(readFileSync(`${procRoot}/sys/kernel/overflowuid`, 'latin1'));
}

/** The name stands in parentheses and may hold any byte, parentheses and line breaks too: count from the last one. */
function parseStat(stat: Buffer, pid: number): Pick<ProcessFacts, 'name' | 'startTicks'> {
  const end = stat.lastIndexOf(')');
  const [state = '', ...rest] = stat
    .toString('latin1', end + 2)
    .trim()
    .split(' ');
  // Field 3 is the state, field 22 the start time.
  const startTicks = Number(rest[22 - 4]);
  if (end < 0 || !Number.isSafeInteger(startTicks)) return malformed(pid, 'stat');
  if ('ZXx'.includes(state)) throw failed(`process ${pid} has ended`);
  return { name: printable(stat.subarray(stat.indexOf('(') + 1, end)), startTicks };
}

/** The numbers of a line of `status`. The kernel escapes line breaks in the name, so no line can be forged. */
function idsIn(status: string, field: string, pid: number): number[] {
  const [, list] = new RegExp(`^${field}:([\\d \\t]*)$`, 'm').exec(status) ?? [];
  if (list === undefined) return malformed(pid, 'status');
  return list.split(/\s+/).filter(Boolean).map(Number);
}

function linesOf(file: Buffer): string[] {
  const lines = file.toString('latin1').split('\n').filter(Boolean);
  return lines.map((line) => printable(Buffer.from(line, 'latin1')));
}

function readProcFile(procRoot: string, pid: number, file: string): Buffer {
  try {
    return readFileSync(`${procRoot}/${pid}/${file}`);
  } catch (cause) {
    throw new CarnetError(
      'attestation_failed',
      `process ${pid} has ended, or /proc hides it from us (hidepid)`,
      { cause },
    );
  }
}

function malformed(pid: number, file: string): never {
  throw failed(`/proc/${pid}/${file} does not read as proc(5) says`);
}

function failed(message: string): CarnetError {
  return new CarnetError('attestation_failed', message);
}
