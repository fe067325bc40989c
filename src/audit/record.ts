import { CarnetError, type ErrorCode, errorCodeOf } from '../errors.ts';
import type { Issuance, Recorder } from './issuance.ts';

/**
 * Commits a batch, all or nothing, in bounded time. Rejects with `invalid_argument` for a row that can't be, with
 * `permission_denied` for one that is revoked already.
 */
export type InsertIssuances = (batch: readonly Issuance[]) => Promise<void>;

/** What is wrong with one row, and not with all. */
const ROW_REFUSED: ReadonlySet<ErrorCode> = new Set(['invalid_argument', 'permission_denied']);

export interface RecorderLimits {
  /** Rows in one commit. */
  readonly maxBatch: number;
  /** Issuances that wait for their commit; more are refused. */
  readonly maxQueued: number;
  /** How long one may wait before its commit begins. */
  readonly maxWaitMs: number;
}

/** At some 5,000 rows a second the queue is worth a second, and a batch about 50 ms. */
export const RECORDER_LIMITS: RecorderLimits = { maxBatch: 256, maxQueued: 4096, maxWaitMs: 5_000 };

interface Waiting {
  readonly issuance: Issuance;
  readonly since: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Records issuances, many in one commit: while a batch is being committed the next one gathers. There is no
 * timer: with nothing under way an issuance goes at once, alone.
 *
 * `record` resolves only after the commit. Whatever else happens, an unknown outcome included, rejects: then the
 * certificate may be on record, and must not be released.
 */
export class BatchRecorder implements Recorder {
  readonly #insert: InsertIssuances;
  readonly #limits: RecorderLimits;
  readonly #now: () => number;
  #queue: Waiting[] = [];
  #flushing: Promise<void> | undefined;
  #closed = false;

  /** `now` is monotonic, in milliseconds. */
  constructor(insert: InsertIssuances, limits: RecorderLimits, now: () => number) {
    this.#insert = insert;
    this.#limits = limits;
    this.#now = now;
  }

  /** How many issuances wait for their commit to begin. */
  get queued(): number {
    return this.#queue.length;
  }

  record(issuance: Issuance): Promise<void> {
    if (this.#closed)
      return Promise.reject(new CarnetError('shutting_down', 'the server is stopping: try again later'));
    if (this.#queue.length >= this.#limits.maxQueued)
      return Promise.reject(
        new CarnetError('overloaded', `${this.#queue.length} issuances wait to be recorded: try again later`),
      );
    const recorded = new Promise<void>((resolve, reject) => {
      this.#queue.push({ issuance, since: this.#now(), resolve, reject });
    });
    this.#flushing ??= this.#flush();
    return recorded;
  }

  /** Refuses what comes from now on, and resolves once everything that waits is recorded or refused: bounded. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#flushing;
  }

  async #flush(): Promise<void> {
    // One turn of the event loop's microtasks: what arrives together shares the first commit already.
    await Promise.resolve();
    while (this.#queue.length > 0) {
      const batch = this.#queue.slice(0, this.#limits.maxBatch);
      this.#queue = this.#queue.slice(batch.length);
      await this.#commit(this.#refuseLate(batch));
    }
    this.#flushing = undefined;
  }

  #refuseLate(batch: readonly Waiting[]): Waiting[] {
    const latest = this.#now() - this.#limits.maxWaitMs;
    return batch.filter((waiting) => {
      if (waiting.since >= latest) return true;
      waiting.reject(new CarnetError('timeout', 'the database records too slowly: try again later'));
      return false;
    });
  }

  /**
   * A row that the database refuses must not take the others with it: the halves are tried by themselves. Any
   * other failure is everybody's.
   */
  async #commit(batch: readonly Waiting[]): Promise<void> {
    const parts = [batch];
    for (let part = parts.pop(); part !== undefined; part = parts.pop()) {
      if (part.length === 0) continue;
      try {
        await this.#insert(part.map(({ issuance }) => issuance));
        for (const { resolve } of part) resolve();
      } catch (error) {
        const refused = ROW_REFUSED.has(errorCodeOf(error));
        const failed = refused ? [part] : [part, ...parts.splice(0)];
        if (refused && part.length > 1)
          parts.push(part.slice(part.length >> 1), part.slice(0, part.length >> 1));
        else for (const { reject } of failed.flat()) reject(error);
      }
    }
  }
}
