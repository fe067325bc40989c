import { setTimeout as sleep } from 'node:timers/promises';
import type { Topic } from '../db/listen.ts';

const RETRY_MS = 1_000;

export interface ReloadsOptions {
  readonly read: (topic: Topic) => Promise<void>;
  readonly onFailed: (topic: Topic, error: unknown) => void;
}

/**
 * Reads again what has changed, one topic at a time: so what is read last is the newest, however many notices came
 * meanwhile. What could not be read is tried again after a second.
 */
export class Reloads implements AsyncDisposable {
  readonly #options: ReloadsOptions;
  readonly #pending = new Set<Topic>();
  readonly #closing = new AbortController();
  #running: Promise<void> | null = null;

  constructor(options: ReloadsOptions) {
    this.#options = options;
  }

  /** Takes note; must not throw. */
  wake(topic: Topic): void {
    this.#pending.add(topic);
    this.#running ??= this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    for (;;) {
      const [topic] = this.#pending;
      if (topic === undefined || signal.aborted) break;
      this.#pending.delete(topic);
      try {
        await this.#options.read(topic);
      } catch (error) {
        this.#options.onFailed(topic, error);
        this.#pending.add(topic);
        await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined);
      }
    }
    this.#running = null;
  }
}
