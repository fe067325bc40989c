import { createHash } from 'node:crypto';
import type { Clock } from '../../clock.ts';
import { CarnetError } from '../../errors.ts';
import type { RemoteWorkload } from './svid-callers.ts';

/** A workload by the token that it showed. */
export interface TokenWorkload extends RemoteWorkload {
  /** The token's end, in milliseconds since the epoch. */
  readonly endsAt: number;
}

export interface TokenCallersOptions {
  /** When a token ends by its own word, which nobody has verified yet. Throws `unauthenticated`, as for one that has ended. */
  readonly endOf: (token: string) => number;
  /** Whose token it is, by its issuer's word. Throws `unauthenticated`; `unavailable` and its like. */
  readonly authenticate: (token: string) => Promise<RemoteWorkload>;
  readonly clock: Clock;
  readonly limits?: Partial<TokenLimits>;
}

export interface TokenLimits {
  /** How long its issuer is not asked of a token again: an Envoy opens a stream for each of its secrets. */
  readonly rememberMs: number;
  readonly remembered: number;
  /** Questions to issuers under way at once. */
  readonly asking: number;
}

const DEFAULT_LIMITS: TokenLimits = { rememberMs: 30_000, remembered: 10_000, asking: 64 };

interface Known {
  readonly until: number;
  readonly workload: Promise<TokenWorkload>;
}

/**
 * Workloads that show a token, each of which is asked about once in a while: it is kept as a hash only, and forgotten
 * with its end. A refusal is not remembered, and costs one question of a bounded number.
 */
export class TokenCallers {
  readonly #options: TokenCallersOptions;
  readonly #limits: TokenLimits;
  /** In order of their questions, so that the first is the first to be forgotten. */
  readonly #known = new Map<string, Known>();
  #asking = 0;

  constructor(options: TokenCallersOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options.limits };
  }

  /** Throws `unauthenticated`, `overloaded`, and `unavailable` or its like where nobody can tell now. */
  attest(token: string): Promise<TokenWorkload> {
    const now = this.#options.clock();
    const endsAt = this.#options.endOf(token);
    const hash = createHash('sha256').update(token).digest('base64');
    const known = this.#known.get(hash);
    if (known !== undefined && now < known.until) return known.workload;
    if (this.#asking >= this.#limits.asking)
      throw new CarnetError('overloaded', `${this.#asking} tokens are being looked at: try again later`);
    const workload = this.#ask(token, endsAt);
    const entry = { until: Math.min(endsAt, now + this.#limits.rememberMs), workload };
    this.#known.delete(hash);
    this.#known.set(hash, entry);
    workload.catch(() => {
      if (this.#known.get(hash) === entry) this.#known.delete(hash);
    });
    this.#makeRoom(now);
    return workload;
  }

  async #ask(token: string, endsAt: number): Promise<TokenWorkload> {
    this.#asking++;
    try {
      return { ...(await this.#options.authenticate(token)), endsAt };
    } finally {
      this.#asking--;
    }
  }

  /** Those whose time is over, from the oldest on, and as many more as are too many. */
  #makeRoom(now: number): void {
    for (const [hash, { until }] of this.#known) {
      if (until > now && this.#known.size <= this.#limits.remembered) break;
      this.#known.delete(hash);
    }
  }
}
