import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import { CarnetError } from '../errors.ts';
import {
  type Executable,
  type ExecutableReply,
  type ExecutableRequest,
  type KnownHash,
  remember,
} from './executable.ts';
import { FairQueue } from './fair-queue.ts';

interface Job extends PromiseWithResolvers<Executable> {
  readonly link: string;
}

/** Ours: every connection that the agent's socket takes may wait here at once. */
const MAX_WAITING = 16_384;
/** Threads that hang in a file system and can't be stopped: past this, nothing more is read. */
const MAX_HUNG_THREADS = 4;
/**
 * A thread takes some 13 MiB, and a node at rest needs none. But its start takes longer than all else that a workload's
 * first certificate takes together: not one in each minute that a container comes.
 */
const IDLE_MS = 600_000;
/** In the sources `.ts`, in the built package `.js`. */
const THREAD = new URL(`./executable-thread${extname(import.meta.url)}`, import.meta.url);
/** Ours, in MiB: the thread holds a buffer, which isn't on the heap, and the cache of hashes. */
const THREAD_LIMITS = { maxOldGenerationSizeMb: 32, maxYoungGenerationSizeMb: 4 };

/**
 * Reads executables in a thread of its own, one at a time, the users' in turn. The thread starts with a request and
 * ends when there was none for a while; one that hangs in a file system is left behind, and another one takes its place.
 * Each goes by what those before it found.
 */
export class ExecutableReader {
  readonly #readTimeoutMs: number;
  readonly #idleMs: number;
  readonly #waiting = new FairQueue<Job>();
  /** SHA-256 by the file's identity; the oldest use first. */
  readonly #known = new Map<string, string>();
  #thread: Worker | null = null;
  #idle: NodeJS.Timeout | undefined;
  #running: { readonly job: Job; readonly timer: NodeJS.Timeout } | null = null;
  #hungThreads = 0;

  /** A read that takes longer than `readTimeoutMs` is taken to hang; after `idleMs` without one the thread ends. */
  constructor(readTimeoutMs: number, idleMs = IDLE_MS) {
    this.#readTimeoutMs = readTimeoutMs;
    this.#idleMs = idleMs;
  }

  /**
   * Reads what `link`, /proc/<pid>/exe, leads to, for a caller of user `uid` who waits `timeoutMs` for it, his
   * turn included. Throws `attestation_failed` for a process that ended or changed meanwhile, `overloaded` and
   * `timeout`.
   */
  async read(link: string, uid: number, timeoutMs: number): Promise<Executable> {
    if (this.#waiting.size >= MAX_WAITING)
      throw new CarnetError('overloaded', `${MAX_WAITING} callers wait to be attested already`);
    const job: Job = { link, ...Promise.withResolvers<Executable>() };
    const timer = setTimeout(() => {
      this.#waiting.delete(uid, job);
      job.reject(timedOut(link));
    }, timeoutMs);
    this.#waiting.push(uid, job);
    this.#next();
    try {
      return await job.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the thread and everybody's wait. */
  close(): void {
    for (let job = this.#waiting.shift(); job !== undefined; job = this.#waiting.shift())
      job.reject(new CarnetError('shutting_down', 'the agent is stopping'));
    this.#dropThread(new CarnetError('shutting_down', 'the agent is stopping'));
  }

  #next(): void {
    if (this.#running !== null) return;
    const job = this.#waiting.shift();
    clearTimeout(this.#idle);
    if (job === undefined) {
      this.#rest();
      return;
    }
    if (this.#hungThreads >= MAX_HUNG_THREADS) {
      job.reject(new CarnetError('overloaded', `${MAX_HUNG_THREADS} reads of executables hang`));
      this.#next();
      return;
    }
    this.#running = { job, timer: setTimeout(() => this.#leaveThread(), this.#readTimeoutMs) };
    this.#thread ??= this.#startThread();
    const request: ExecutableRequest = { link: job.link };
    this.#thread.postMessage(request);
  }

  #rest(): void {
    if (this.#thread === null) return;
    const end = (): void => this.#dropThread(new CarnetError('internal', 'the reading thread rests'));
    this.#idle = setTimeout(end, this.#idleMs).unref();
  }

  #startThread(): Worker {
    const thread = new Worker(THREAD, {
      ...{ execArgv: [], env: {}, resourceLimits: THREAD_LIMITS },
      workerData: [...this.#known] satisfies KnownHash[],
    });
    thread.unref();
    thread.on('message', (reply: ExecutableReply) => {
      if (thread !== this.#thread) return;
      const job = this.#endRun();
      if ('executable' in reply) {
        if (reply.known !== null) remember(this.#known, reply.known);
        job?.resolve(reply.executable);
      } else job?.reject(new CarnetError('attestation_failed', reply.failed));
      this.#next();
    });
    thread.on('error', (cause) => {
      if (thread !== this.#thread) return;
      this.#dropThread(new CarnetError('attestation_failed', 'the reading thread failed', { cause }));
      this.#next();
    });
    return thread;
  }

  /** The thread hangs in a system call: it will end when that returns, if ever. */
  #leaveThread(): void {
    this.#hungThreads++;
    this.#thread?.once('exit', () => this.#hungThreads--);
    this.#dropThread(timedOut(this.#running?.job.link ?? ''));
    this.#next();
  }

  #dropThread(reason: CarnetError): void {
    clearTimeout(this.#idle);
    void this.#thread?.terminate();
    this.#thread = null;
    this.#endRun()?.reject(reason);
  }

  #endRun(): Job | undefined {
    clearTimeout(this.#running?.timer);
    const job = this.#running?.job;
    this.#running = null;
    return job;
  }
}

function timedOut(link: string): CarnetError {
  return new CarnetError('timeout', `${link} could not be read in time`);
}
