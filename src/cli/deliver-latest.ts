import { setTimeout as pause } from 'node:timers/promises';

export interface DeliveryOptions<T> {
  /** Tried again while it fails, until something newer takes its place. */
  readonly store: (value: T) => Promise<void>;
  /** What follows once it is stored; must not reject. */
  readonly announce: (value: T) => Promise<void>;
  readonly onFailed: (error: unknown) => void;
  /** Gives up. */
  readonly signal: AbortSignal;
  /** In [0, 1): spreads tries. */
  readonly random: () => number;
}

const FIRST_RETRY_MS = 200;
const LONGEST_RETRY_MS = 5_000;

/** Delivers one value at a time; of what comes meanwhile only the latest is kept. */
export class LatestDelivery<T> {
  readonly #options: DeliveryOptions<T>;
  #latest: { readonly value: T } | null = null;
  #running: Promise<void> | null = null;

  constructor(options: DeliveryOptions<T>) {
    this.#options = options;
  }

  /** Takes note; what was not stored yet is given up for it. */
  push(value: T): void {
    this.#latest = { value };
    this.#running ??= this.#run();
  }

  /** Resolves when all is delivered, or after the signal. */
  async settled(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    const { store, announce, onFailed, signal, random } = this.#options;
    let failures = 0;
    while (this.#latest !== null && !signal.aborted) {
      const next = this.#latest;
      try {
        await store(next.value);
      } catch (error) {
        onFailed(error);
        const delayMs = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(failures++, 10));
        await pause(delayMs * (0.5 + random() / 2), undefined, { signal }).catch(() => undefined);
        continue;
      }
      failures = 0;
      if (this.#latest === next) this.#latest = null;
      await announce(next.value);
    }
    this.#running = null;
  }
}
