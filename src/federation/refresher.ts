import { CarnetError } from '../errors.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import { acceptBundle, trustBundleOf } from './accept-bundle.ts';
import type { Claim, Endpoint, Federation, FederationStore } from './federation.ts';
import { FETCH_TIMEOUT_MS, fetchBundle } from './fetch-bundle.ts';
import { afterFailure, afterSuccess } from './refresh-time.ts';

export interface RefresherOptions {
  readonly store: FederationStore;
  /** Our own bundle, of which nothing may come from others. */
  readonly own: () => TrustBundle;
  /** In [0, 1): spreads the fetches of many servers. */
  readonly random: () => number;
  readonly onRefreshed: (federation: Federation, changed: boolean) => void;
  readonly onFailed: (failure: RefreshFailure) => void;
  /** Gives up what is under way: another replica takes it up. */
  readonly stopping: AbortSignal;
}

export interface RefreshFailure {
  readonly trustDomain: TrustDomain;
  /** Which in a row it is. */
  readonly failures: number;
  readonly error: unknown;
}

/** A replica that dies while it fetches holds nobody up for longer. */
const LEASE_SECONDS = Math.ceil((FETCH_TIMEOUT_MS * 3) / 1000);
/** Endpoints that are asked at once, so that a slow one holds up few. */
const CONCURRENCY = 4;

/**
 * Fetches other trust domains' bundles when they are due. Postgres decides which replica asks an endpoint; what is
 * fetched is judged there once more, beside the bundle that lives then.
 */
export class Refresher {
  readonly #options: RefresherOptions;

  constructor(options: RefresherOptions) {
    this.#options = options;
  }

  /** Fetches all that are due and that no other replica fetches. Rejects only when the store does. */
  async refreshDue(): Promise<void> {
    const worker = async (): Promise<void> => {
      while (!this.#options.stopping.aborted) {
        const claim = await this.#options.store.claimDue(LEASE_SECONDS);
        if (claim === null) return;
        await this.#refresh(claim, 'schedule:federation').catch((error: unknown) => {
          if (!(error instanceof FetchFailed)) throw error;
        });
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, worker));
  }

  /** Fetches one now, because an operator asks for it. Throws what `store.claim` throws, and why the fetch failed. */
  async refresh(trustDomain: TrustDomain, actor: string): Promise<Federation> {
    const claim = await this.#options.store.claim(trustDomain, LEASE_SECONDS);
    try {
      return (await this.#refresh(claim, actor)) ?? claim.federation;
    } catch (error) {
      throw error instanceof FetchFailed ? error.cause : error;
    }
  }

  /** Throws {@link FetchFailed} once the failure is stored. Null when the claim was lost. */
  async #refresh(claim: Claim, actor: string): Promise<Federation | null> {
    const { store, own, random, onRefreshed } = this.#options;
    const { federation } = claim;
    const { trustDomain } = federation;
    try {
      const document = await this.#fetch(federation);
      const after = await store.succeed(
        claim,
        (live) => acceptBundle(document, trustDomain, own(), live),
        ({ refreshHintSeconds }) => afterSuccess(refreshHintSeconds, random()),
        actor,
      );
      if (after !== null) onRefreshed(after, after.bundle?.revision !== federation.bundle?.revision);
      return after;
    } catch (error) {
      if (!this.#options.stopping.aborted) await this.#fail(claim, error);
      throw new FetchFailed(error);
    }
  }

  async #fetch({ trustDomain, endpoint, bundle }: Federation): Promise<string> {
    // A web server is verified by other CAs: what it says may take the place of what can't be read.
    const known = endpoint?.profile === 'https_spiffe' && bundle ? trustBundleOf(trustDomain, bundle) : null;
    return await fetchBundle(endpoint as Endpoint, known, { stopping: this.#options.stopping });
  }

  async #fail(claim: Claim, error: unknown): Promise<void> {
    const { store, random, onFailed } = this.#options;
    const { trustDomain, bundle, failures: before } = claim.federation;
    const failures = before + 1;
    const problem = error instanceof CarnetError ? error.message : 'internal error';
    await store.fail(claim, problem, afterFailure(bundle?.refreshHintSeconds ?? null, failures, random()));
    onFailed({ trustDomain, failures, error });
  }
}

/** Tells a fetch that failed, which is on record by then, from a store that does. */
class FetchFailed extends Error {
  constructor(cause: unknown) {
    super('the bundle was not fetched', { cause });
  }
}
