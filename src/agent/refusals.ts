import type { Clock } from '../clock.ts';
import { CarnetError, type ErrorCode } from '../errors.ts';
import type { Logger } from '../log.ts';

/** Ours: whoever is refused may try again at once and for ever; the log must not grow with him. */
const LOG_INTERVAL_MS = 1000;

/** Counts the callers that were turned away, by reason, and logs one of them a second. */
export class Refusals {
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #counts = new Map<ErrorCode, number>();
  #loggedAt = Number.NEGATIVE_INFINITY;
  #unlogged = 0;

  constructor(log: Logger, clock: Clock) {
    this.#log = log;
    this.#clock = clock;
  }

  /** How often each reason was met. */
  get counts(): ReadonlyMap<ErrorCode, number> {
    return this.#counts;
  }

  /** `uid` is null where not even that is known. An error that isn't ours counts as `internal`, and is logged whole. */
  add(error: unknown, uid: number | null): void {
    const known = error instanceof CarnetError;
    const code = known ? error.code : 'internal';
    this.#counts.set(code, (this.#counts.get(code) ?? 0) + 1);
    const now = this.#clock();
    if (now - this.#loggedAt < LOG_INTERVAL_MS) {
      this.#unlogged++;
      return;
    }
    const fields = { code, uid, unlogged: this.#unlogged };
    if (known) this.#log.warn(fields, `refused a caller: ${error.message}`);
    else this.#log.error({ ...fields, err: error }, 'refused a caller');
    this.#loggedAt = now;
    this.#unlogged = 0;
  }
}
