import { RateLimit } from '../api/rate-limit.ts';
import type { Clock } from '../clock.ts';
import { CarnetError } from '../errors.ts';
import type { TokenBearer } from './create-certificate.ts';

/** Ours: a pod asks when it starts and at half of its certificate's life, some seconds at the least. All is on record for ever. */
const OF_POD = { perSecond: 1, burst: 60 };
/** Of the agents of one node, that ask for all that runs there: as of an agent of ours. */
const OF_NODE = { perSecond: 100, burst: 4000 };

/** How much each of Istio's clients may have issued, so that none fills history or takes the others' turns. */
export class Shares {
  readonly #ofPods: RateLimit;
  readonly #ofNodes: RateLimit;

  constructor(clock: Clock) {
    this.#ofPods = new RateLimit(OF_POD, clock);
    this.#ofNodes = new RateLimit(OF_NODE, clock);
  }

  /** Throws `rate_limited`. */
  take({ attestation, node }: TokenBearer, inOthersName: boolean): void {
    const seconds = inOthersName ? this.#ofNodes.take(node) : this.#ofPods.take(attestation.instance);
    if (seconds > 0)
      throw new CarnetError(
        'rate_limited',
        `${inOthersName ? node : attestation.instance} asks for more than its share: try again in ${seconds} s`,
      );
  }
}
