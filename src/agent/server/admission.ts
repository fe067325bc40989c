import { CarnetError } from '../../errors.ts';

export interface AdmissionLimits {
  readonly perSecond: number;
  /** How many may come at once after a rest. */
  readonly burst: number;
  readonly maxWaiting: number;
}

/**
 * Ours: each that is let in has its state read and sent, and then its certificates renewed. A thousand are in within 20 s,
 * of which certificates that last an hour notice nothing.
 */
export const ADMISSION_LIMITS: AdmissionLimits = { perSecond: 50, burst: 50, maxWaiting: 10_000 };

interface Waiter {
  readonly soonestEndMs: number;
  readonly enter: () => void;
}

/** A refusal that says when to come back. */
export class TooManyWaiting extends CarnetError {
  readonly retryAfterMs: number;

  constructor(waiting: number, retryAfterMs: number) {
    const seconds = Math.ceil(retryAfterMs / 1000);
    super(
      'overloaded',
      `${waiting} agents wait to be let in: try again in ${seconds} s, or at another server`,
    );
    this.retryAfterMs = retryAfterMs;
  }
}

/** Lets agents in at a bounded rate, first those whose certificates end first. */
export class Admission {
  readonly #limits: AdmissionLimits;
  /** By soonest end; among equals by arrival. */
  readonly #waiting: Waiter[] = [];
  #tokens: number;
  #filledAt = performance.now();
  #timer: NodeJS.Timeout | null = null;

  constructor(limits: AdmissionLimits = ADMISSION_LIMITS) {
    this.#limits = limits;
    this.#tokens = limits.burst;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Resolves when its turn comes. `soonestEndMs` is when its first certificate ends, Unix milliseconds; 0 for none, which
   * goes last: nothing ends there. Throws {@link TooManyWaiting}, and `signal`'s reason when that fires.
   */
  async enter(soonestEndMs: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#fill();
    if (this.#waiting.length === 0 && this.#tokens >= 1) {
      this.#tokens--;
      return;
    }
    const { maxWaiting, perSecond } = this.#limits;
    if (this.#waiting.length >= maxWaiting)
      throw new TooManyWaiting(this.#waiting.length, (this.#waiting.length / perSecond) * 1000);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const waiter = {
      soonestEndMs: soonestEndMs === 0 ? Number.POSITIVE_INFINITY : soonestEndMs,
      enter: resolve,
    };
    this.#insert(waiter);
    const leave = (): void => {
      const at = this.#waiting.indexOf(waiter);
      if (at >= 0) this.#waiting.splice(at, 1);
      reject(signal.reason);
    };
    signal.addEventListener('abort', leave, { once: true });
    this.#schedule();
    await promise.finally(() => signal.removeEventListener('abort', leave));
  }

  #insert(waiter: Waiter): void {
    let [low, high] = [0, this.#waiting.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#waiting[middle]?.soonestEndMs ?? 0) <= waiter.soonestEndMs) low = middle + 1;
      else high = middle;
    }
    this.#waiting.splice(low, 0, waiter);
  }

  #fill(): void {
    const now = performance.now();
    const { perSecond, burst } = this.#limits;
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#filledAt) / 1000) * perSecond);
    this.#filledAt = now;
  }

  #schedule(): void {
    if (this.#timer !== null || this.#waiting.length === 0) return;
    const waitMs = Math.max(0, ((1 - this.#tokens) / this.#limits.perSecond) * 1000);
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#fill();
      while (this.#tokens >= 1 && this.#waiting.length > 0) {
        this.#tokens--;
        this.#waiting.shift()?.enter();
      }
      this.#schedule();
    }, waitMs);
  }
}
