import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setImmediate } from 'node:timers';

/** The machine's own PID namespace, in which all processes are seen (PROC_PID_INIT_INO of the kernel's proc_ns.h). */
const INITIAL_PID_NAMESPACE = 'pid:[4026531836]';
/** procfs hides processes of other users (proc(5)); `0` and `off` say that it doesn't. */
const HIDES = /(?:^|,)hidepid=(?!0\b|off\b)/;
const CONTAINER_ID = /(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])/g;
/** Ours: looking through all processes takes some 30 µs each, and may take a twentieth of the time. */
const LEAST_PAUSE_MS = 1000;
const PAUSE_FACTOR = 20;

/**
 * Which containers have processes, by the kernel's word: the cgroup of each process names its container, v1 or v2 and
 * from inside of any cgroup namespace, whereas a cgroup's own directory is seen only where it is mounted. Any name with
 * a container's ID in it counts, whoever made it: then it may run.
 */
export class RunningContainers {
  readonly #procRoot: string;
  readonly #now: () => number;
  /** One process in each container, as of the last look through all of them. */
  #pids: ReadonlyMap<string, number> = new Map();
  #nextLookAt = Number.NEGATIVE_INFINITY;
  #isFresh = false;

  /** `now` is in milliseconds, and never goes back. */
  constructor(procRoot: string, now: () => number = () => performance.now()) {
    this.#procRoot = procRoot;
    this.#now = now;
  }

  /**
   * Whether a container that was seen to run before this turn of the event loop is known to have no process any more.
   * False where that cannot be told: where we don't see all processes, or it is too early for another look.
   */
  hasEnded(id: string): boolean {
    const pid = this.#pids.get(id);
    if (pid !== undefined && containersOf(this.#procRoot, pid)?.includes(id)) return false;
    return this.#look() && !this.#pids.has(id);
  }

  /** Whether `#pids` is of this turn. */
  #look(): boolean {
    if (this.#isFresh) return true;
    const begin = this.#now();
    if (begin < this.#nextLookAt) return false;
    const found = seesAllProcesses(this.#procRoot) ? pidsByContainer(this.#procRoot) : null;
    this.#nextLookAt = begin + Math.max(LEAST_PAUSE_MS, PAUSE_FACTOR * (this.#now() - begin));
    if (found === null) return false;
    this.#pids = found;
    this.#isFresh = true;
    setImmediate(() => {
      this.#isFresh = false;
    });
    return true;
  }
}

function seesAllProcesses(procRoot: string): boolean {
  try {
    if (readlinkSync(`${procRoot}/self/ns/pid`) !== INITIAL_PID_NAMESPACE) return false;
    const mounts = readFileSync(`${procRoot}/self/mounts`, 'latin1').split('\n');
    // What is mounted last is what is seen.
    const [, , , options] = mounts.findLast((line) => line.split(' ')[1] === procRoot)?.split(' ') ?? [];
    return options !== undefined && !HIDES.test(options);
  } catch {
    return false;
  }
}

/**
 * The first process that names each container; null where one can't be read. No container is missed that runs all along,
 * as its own first process keeps its number.
 */
function pidsByContainer(procRoot: string): Map<string, number> | null {
  const found = new Map<string, number>();
  for (const name of readdirSync(procRoot)) {
    if (!/^\d+$/.test(name)) continue;
    const ids = containersOf(procRoot, Number(name));
    if (ids === null) return null;
    for (const id of ids) if (!found.has(id)) found.set(id, Number(name));
  }
  return found;
}

/** All that a process's cgroups name; none of a process that has ended; null where it can't be told. */
function containersOf(procRoot: string, pid: number): readonly string[] | null {
  try {
    return readFileSync(`${procRoot}/${pid}/cgroup`, 'latin1').match(CONTAINER_ID) ?? [];
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' || code === 'ESRCH' ? [] : null;
  }
}
