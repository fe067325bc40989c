import { CarnetError } from '../../errors.ts';
import type { Issued, IssueResponse, Outcome, Wanted } from '../../gen/carnet/agent/v1/agent.ts';
import { LINK_LIMITS } from '../link-limits.ts';
import { refusalOf } from './issued.ts';

interface Waiting {
  readonly wanted: Wanted;
  readonly resolve: (issued: Issued) => void;
  readonly reject: (error: unknown) => void;
}

/** Ours: while some are being signed and recorded the next are on their way. */
const BATCHES_UNDER_WAY = 4;
/** Far more than delivery has under way at once. */
const MAX_WAITING = 4096;

/**
 * Gathers what is wanted in one turn of the event loop into one call. No timer: alone, a certificate is asked for at once;
 * and while as many calls are under way as may be, the rest gathers.
 */
export class IssueBatches {
  readonly #call: (wanted: Wanted[]) => Promise<IssueResponse>;
  #waiting: Waiting[] = [];
  #underWay = 0;
  #scheduled = false;

  /** `call` rejects while there is no server. */
  constructor(call: (wanted: Wanted[]) => Promise<IssueResponse>) {
    this.#call = call;
  }

  /** Rejects with the server's own code for this one, or with why the call failed. */
  issue(wanted: Wanted): Promise<Issued> {
    if (this.#waiting.length >= MAX_WAITING)
      return Promise.reject(
        new CarnetError('overloaded', `${MAX_WAITING} certificates wait for the server: try again later`),
      );
    return new Promise((resolve, reject) => {
      this.#waiting.push({ wanted, resolve, reject });
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#scheduled || this.#waiting.length === 0 || this.#underWay >= BATCHES_UNDER_WAY) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      const batch = this.#waiting.splice(0, LINK_LIMITS.wanted);
      this.#underWay++;
      void this.#send(batch).finally(() => {
        this.#underWay--;
        this.#schedule();
      });
      this.#schedule();
    });
  }

  /** Never rejects: each of the batch hears. */
  async #send(batch: readonly Waiting[]): Promise<void> {
    try {
      const { outcomes } = await this.#call(batch.map(({ wanted }) => wanted));
      if (outcomes.length !== batch.length)
        throw new CarnetError(
          'internal',
          `the server answered ${outcomes.length} of ${batch.length} requests`,
        );
      for (const [i, { resolve, reject }] of batch.entries()) settle(outcomes[i], resolve, reject);
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }
}

function settle(
  answer: Outcome | undefined,
  resolve: (issued: Issued) => void,
  reject: (error: unknown) => void,
): void {
  const outcome = answer?.outcome;
  if (outcome?.$case === 'issued') resolve(outcome.value);
  else reject(refusalOf(outcome?.value));
}
