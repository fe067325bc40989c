import type { AuthorityStore } from '../ca/authority-store.ts';
import type { Clock } from '../clock.ts';

export interface LaterBundlesOptions {
  readonly store: Pick<AuthorityStore, 'bundle' | 'transact'>;
  readonly clock: Clock;
  /** The bundle was published once more, with this sequence number. */
  readonly onPublished: (sequence: number) => void;
}

/** At most so often, whatever agents say: each time is a row of history. */
const INTERVAL_MS = 60_000;
/** Sequence numbers keep up with the seconds since the epoch: nobody honest holds one that is much further. */
const MAX_AHEAD_SECONDS = 3600;

/**
 * Agents that hold a later bundle than the database knows of: an older one was restored, and what followed is lost. They
 * leave a bundle with a lower number, which mostly comes from a server that lags behind. So what counts now is published
 * once more, above all that may be out there.
 */
export class LaterBundles {
  readonly #options: LaterBundlesOptions;
  /** Or begun to be. */
  #publishedAt = Number.NEGATIVE_INFINITY;

  constructor(options: LaterBundlesOptions) {
    this.#options = options;
  }

  /** An agent said of which number its bundle is. `known` is the last that this replica read. Rejects as the store does. */
  async heard(node: string, sequence: number, known: number): Promise<void> {
    const now = this.#options.clock();
    if (sequence <= known || sequence > now / 1000 + MAX_AHEAD_SECONDS) return;
    if (Math.abs(now - this.#publishedAt) < INTERVAL_MS) return;
    this.#publishedAt = now;
    let published: number | null = null;
    try {
      published = await this.#publishAbove(node, sequence);
    } finally {
      if (published === null) this.#publishedAt = Number.NEGATIVE_INFINITY;
    }
    if (published !== null) this.#options.onPublished(published);
  }

  /** Null where the database knows of it: then this replica is the one that lags behind. */
  async #publishAbove(node: string, sequence: number): Promise<number | null> {
    const { store } = this.#options;
    if (sequence <= ((await store.bundle())?.sequence ?? sequence)) return null;
    return store.transact(async (tx) => {
      const fresh = await tx.republishBundle();
      await tx.event({
        actor: 'server:link',
        action: 'bundle.republish',
        subject: String(fresh),
        before: null,
        after: { node, sequence },
        reason: 'an agent holds a later bundle than the database, as after the restore of an older backup',
      });
      return fresh;
    });
  }
}
