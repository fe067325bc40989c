import { setTimeout as sleep } from 'node:timers/promises';
import type { ExportedRow } from '../audit/export.ts';
import { CarnetError } from '../errors.ts';
import { pauseMs } from './back-off.ts';
import { type Batch, cutBatch, MAX_BATCH_ENTRIES } from './batch.ts';
import type { SendFailure, Sink } from './sink.ts';
import type { ForwardStore } from './store.ts';

export interface ForwarderOptions {
  readonly sink: Sink;
  readonly store: Pick<ForwardStore, 'waiting' | 'acknowledge' | 'sendAgain' | 'noteFailure'>;
  readonly onAcknowledged: (entries: number) => void;
  readonly onFailed: (failure: ForwardFailure) => void;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** Between looks at a log that has nothing new, in milliseconds. */
  readonly pollMs?: number;
}

export interface ForwardFailure {
  readonly error: unknown;
  /** Which in a row it is; 0 for a batch that is tried again in halves at once. */
  readonly failures: number;
  /** Leaf index of the one entry that the sink will not take; null for any other failure. */
  readonly refused: number | null;
}

const POLL_MS = 1000;
/** What is being sent may still be acknowledged: else the next one sends it again. */
const CLOSE_GRACE_MS = 3000;

/**
 * Sends one sink the log, in order and without a gap, from its stored position on, until it is disposed of. The position
 * moves only after the sink's acknowledgement: whenever this ends, and however, the next one goes on with what was not
 * acknowledged. Two of them do no harm: what each sends is in order from the stored position on.
 *
 * One batch is in memory at a time; for a sink that is away, nothing but its position is kept.
 */
export class Forwarder implements AsyncDisposable {
  readonly #options: ForwarderOptions;
  readonly #closing = new AbortController();
  readonly #cutting = new AbortController();
  readonly #ended: Promise<void>;
  #limit = MAX_BATCH_ENTRIES;
  #failures = 0;
  /** What was acknowledged last. */
  #taken: Batch | null = null;

  constructor(options: ForwarderOptions) {
    this.#options = options;
    this.#ended = this.#run();
  }

  /** What is being sent has 3 s to be acknowledged. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    const timer = setTimeout(() => this.#cutting.abort(), CLOSE_GRACE_MS);
    await this.#ended;
    clearTimeout(timer);
  }

  async #run(): Promise<void> {
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const pause = await this.#turn().catch((error: unknown) => this.#failed(error, null));
      if (pause > 0) await sleep(pause, undefined, { signal }).catch(() => undefined);
    }
  }

  /** One batch. Answers how long to wait for the next, in milliseconds. */
  async #turn(): Promise<number> {
    const { sink, store, onAcknowledged, pollMs = POLL_MS } = this.#options;
    const { position, rows } = await store.waiting(sink.name, this.#limit);
    if (!isSome(rows)) return pollMs;
    checkOrder(position, rows);
    const batch = cutBatch(rows);
    const failure = await sink.send(batch, this.#cutting.signal);
    if (failure !== null) return this.#sendFailed(failure, batch);
    this.#failures = 0;
    this.#limit = Math.min(MAX_BATCH_ENTRIES, this.#limit * 2);
    // Where it is another position by now, that one counts: an operator moved it, or another server was faster.
    const moved = await store.acknowledge(sink.name, batch.first, batch.end);
    this.#taken = moved ? batch : null;
    if (moved) onAcknowledged(batch.lines.length);
    return 0;
  }

  /** Half as much is tried next: it may have been too much at once, or one entry of many. */
  async #sendFailed({ error, isRefused, retryAfterMs }: SendFailure, batch: Batch): Promise<number> {
    if (this.#cutting.signal.aborted) return 0;
    const count = batch.lines.length;
    this.#limit = Math.ceil(count / 2);
    if (isRefused && count > 1) {
      this.#options.onFailed({ error, failures: 0, refused: null });
      return 0;
    }
    const { sink, store } = this.#options;
    await store.noteFailure(sink.name, error.message);
    const taken = this.#taken;
    this.#taken = null;
    if (sink.mayForget && error.code === 'unavailable' && taken?.end === batch.first)
      await store.sendAgain(sink.name, taken.end, taken.first);
    return this.#failed(error, retryAfterMs, isRefused ? batch.first : null);
  }

  #failed(error: unknown, retryAfterMs: number | null, refused: number | null = null): number {
    this.#failures++;
    this.#options.onFailed({ error, failures: this.#failures, refused });
    return pauseMs(this.#failures, retryAfterMs, this.#options.random());
  }
}

function isSome(rows: readonly ExportedRow[]): rows is [ExportedRow, ...ExportedRow[]] {
  return rows.length > 0;
}

/** Never skip: a log that lacks an entry is not gone on with. */
function checkOrder(position: number, rows: readonly ExportedRow[]): void {
  const gap = rows.findIndex(({ index }, i) => index !== position + i);
  if (gap !== -1)
    throw new CarnetError('internal', `the log lacks entry ${position + gap}: run carnet audit verify`);
}
