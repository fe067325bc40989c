import { setTimeout as sleep } from 'node:timers/promises';
import type { Fleet, FleetChanges, FleetRemains } from './fleet.ts';

/** Where all agents keep what they know of the fleet. */
export interface FleetStore {
  /** What the agent before this one left. */
  load(): Promise<FleetRemains>;
  /** Stores all of it or nothing. */
  write(changes: FleetChanges): Promise<void>;
}

export interface FleetReportLimits {
  /** Instances in one statement. */
  readonly maxBatch: number;
  /** From the beginning of one report to that of the next. */
  readonly intervalMs: number;
  /** Between tries while the store is away: doubling, up to this. */
  readonly maxRetryMs: number;
  /** For the last report. */
  readonly closeMs: number;
}

/** A change is stored at once; those of a moment's rush gather. */
export const FLEET_REPORT_LIMITS: FleetReportLimits = {
  maxBatch: 1000,
  intervalMs: 200,
  maxRetryMs: 5_000,
  closeMs: 2_000,
};

/**
 * Stores what changes in the fleet, soon after it does, in few statements and one at a time. While the store is
 * away changes only gather by instance: what is stored at last is how things are then.
 */
export class FleetReport {
  readonly #fleet: Fleet;
  readonly #store: FleetStore;
  readonly #onFailed: (error: unknown, failures: number) => void;
  readonly #limits: FleetReportLimits;
  readonly #stop = new AbortController();
  #running: Promise<void> | null = null;
  #failures = 0;

  /** `onFailed` is told of each failure, and which in a row it is. */
  constructor(
    fleet: Fleet,
    store: FleetStore,
    onFailed: (error: unknown, failures: number) => void,
    limits: FleetReportLimits = FLEET_REPORT_LIMITS,
  ) {
    this.#fleet = fleet;
    this.#store = store;
    this.#onFailed = onFailed;
    this.#limits = limits;
    fleet.listen(() => this.#wake());
    this.#wake();
  }

  /** Stores what is left, in bounded time. */
  async close(): Promise<void> {
    this.#fleet.listen(() => undefined);
    this.#stop.abort();
    const late = new AbortController();
    await Promise.race([
      (this.#running ?? Promise.resolve()).then(() => this.#report()),
      sleep(this.#limits.closeMs, undefined, { signal: late.signal }).catch(() => undefined),
    ]);
    late.abort();
  }

  #wake(): void {
    if (this.#running !== null || !this.#fleet.hasChanges) return;
    this.#running = this.#run().finally(() => {
      this.#running = null;
      if (!this.#stop.signal.aborted) this.#wake();
    });
  }

  /** Until nothing changes for an interval. */
  async #run(): Promise<void> {
    // What changes in this turn of the event loop goes together.
    await Promise.resolve();
    while (this.#fleet.hasChanges && !this.#stop.signal.aborted) {
      await this.#report();
      const { intervalMs, maxRetryMs } = this.#limits;
      const pauseMs = Math.min(maxRetryMs, intervalMs * 2 ** Math.min(this.#failures, 10));
      await sleep(pauseMs, undefined, { signal: this.#stop.signal }).catch(() => undefined);
    }
  }

  /** Everything that has changed by now; gives up at the first failure. */
  async #report(): Promise<void> {
    for (let rest = this.#fleet.size; rest >= 0 && this.#fleet.hasChanges; rest -= this.#limits.maxBatch) {
      const changes = this.#fleet.takeChanges(this.#limits.maxBatch);
      if (changes.records.length === 0 && changes.ended.length === 0) continue;
      try {
        await this.#store.write(changes);
        this.#fleet.stored(changes);
        this.#failures = 0;
      } catch (error) {
        this.#fleet.notStored(changes);
        this.#onFailed(error, ++this.#failures);
        return;
      }
    }
  }
}
