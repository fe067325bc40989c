import { RateLimit } from '../../api/rate-limit.ts';
import type { OperatorEvent } from '../../audit/operator-event.ts';
import type { Clock } from '../../clock.ts';
import { CarnetError, type ErrorCode, errorCodeOf, isRetryable } from '../../errors.ts';
import type { Logger } from '../../log.ts';

/** Who was refused what. */
export interface Refusal {
  readonly error: unknown;
  /** The node that it claims to be; null where that isn't known. */
  readonly node: string | null;
  readonly address: string;
  /** `attest`, or the call. */
  readonly what: string;
}

export interface LinkRefusalsOptions {
  /** Commits an event to the history of operators' events. */
  readonly record: (event: OperatorEvent) => Promise<void>;
  readonly counted: (code: ErrorCode) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Ours: whoever is refused may try again at once and for ever, and history can't be cut. 60 at once and then six a
 * minute are 8,700 a day and replica at the most, some 4 MB; how many went unrecorded is in the next.
 */
const RATE = { perSecond: 0.1, burst: 60 };
const LOG_INTERVAL_MS = 1000;
/** Events that wait for the database. */
const MAX_PENDING = 16;
const MAX_REASON = 500;

/** Puts on record, counts and logs who was turned away on the link, within bounds. What may pass is only counted. */
export class LinkRefusals {
  readonly #options: LinkRefusalsOptions;
  readonly #rate: RateLimit;
  #unrecorded = 0;
  #pending = 0;
  #loggedAt = Number.NEGATIVE_INFINITY;
  #unlogged = 0;

  constructor(options: LinkRefusalsOptions) {
    this.#options = options;
    this.#rate = new RateLimit(RATE, options.clock);
  }

  add(refusal: Refusal): void {
    const { error } = refusal;
    this.#options.counted(errorCodeOf(error));
    this.#log(refusal);
    // A copy is banned, and its ban recorded, where it is noticed.
    if (!(error instanceof CarnetError) || isRetryable(error) || error.code === 'agent_copied') return;
    if (this.#pending >= MAX_PENDING || this.#rate.take('') > 0) this.#unrecorded++;
    else void this.#record(refusal, error);
  }

  async #record({ node, address, what }: Refusal, { code, message }: CarnetError): Promise<void> {
    const unrecorded = this.#unrecorded;
    this.#unrecorded = 0;
    this.#pending++;
    try {
      await this.#options.record({
        actor: 'server:link',
        action: 'agent.refuse',
        subject: node ?? address,
        before: null,
        after: { code, what, address, unrecorded_before: unrecorded },
        reason: message.slice(0, MAX_REASON).toWellFormed(),
      });
    } catch (err) {
      this.#unrecorded += unrecorded + 1;
      this.#options.log.warn({ err }, 'a refused agent could not be put on record');
    } finally {
      this.#pending--;
    }
  }

  /** One a second. */
  #log({ error, node, address, what }: Refusal): void {
    const now = this.#options.clock();
    if (now - this.#loggedAt < LOG_INTERVAL_MS) {
      this.#unlogged++;
      return;
    }
    const fields = { code: errorCodeOf(error), node, address, what, unlogged: this.#unlogged };
    if (error instanceof CarnetError) this.#options.log.warn(fields, `refused on the link: ${error.message}`);
    else this.#options.log.error({ ...fields, err: error }, 'a call on the link failed');
    this.#loggedAt = now;
    this.#unlogged = 0;
  }
}
