import { setTimeout as sleep } from 'node:timers/promises';

export interface PassesOptions {
  /** Brings things to where they should be, whatever happened before. */
  readonly work: () => Promise<void>;
  /** What wakes come in this time share a pass. */
  readonly gatherMs: number;
  /** Without any wake. */
  readonly everyMs: number;
  /** Must not throw; `failures` is which in a row. */
  readonly onFailed: (error: unknown, failures: number) => void;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

const MAX_BACKOFF_MS = 60_000;

/** Does the same work again and again: one pass at a time, soon after a wake, and now and then without one. */
export class Passes {
  readonly #options: PassesOptions;
  readonly #closing = new AbortController();
  readonly #ended: Promise<void>;
  #woken = true;
  #wake: () => void = () => undefined;

  constructor(options: PassesOptions) {
    this.#options = options;
    this.#ended = this.#run();
  }

  wake(): void {
    this.#woken = true;
    this.#wake();
  }

  /** Resolves after the pass that is under way. */
  async close(): Promise<void> {
    this.#closing.abort();
    this.#wake();
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { work, gatherMs, everyMs, onFailed, random } = this.#options;
    let failures = 0;
    while (!this.#closing.signal.aborted) {
      if (!this.#woken) await this.#wokenWithin(everyMs);
      const pauseMs = Math.min(MAX_BACKOFF_MS, gatherMs * 2 ** Math.min(failures, 10));
      await this.#pause(failures === 0 ? pauseMs : pauseMs * (0.5 + random() / 2));
      if (this.#closing.signal.aborted) return;
      this.#woken = false;
      try {
        await work();
        failures = 0;
      } catch (error) {
        this.#woken = true;
        onFailed(error, ++failures);
      }
    }
  }

  async #wokenWithin(ms: number): Promise<void> {
    const over = new AbortController();
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    await Promise.race([woken, sleep(ms, undefined, { signal: over.signal }).catch(() => undefined)]);
    over.abort();
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#closing.signal }).catch(() => undefined);
  }
}
