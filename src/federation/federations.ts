import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import { trustBundleOf } from './accept-bundle.ts';
import type { Federation, FederationStore, ForeignBundle } from './federation.ts';
import { isStale } from './refresh-time.ts';

/** The federations as this replica last read them. */
export class Federations {
  readonly #store: Pick<FederationStore, 'list'>;
  readonly #onUnreadable: (trustDomain: TrustDomain, error: unknown) => void;
  /** Revisions that were told of. */
  readonly #unreadable = new Set<number>();
  #list: readonly Federation[] = [];
  #bundles: ReadonlyMap<TrustDomain, TrustBundle> = new Map();
  #onBundleChange: () => void = () => undefined;

  /** `onUnreadable` is told once of each bundle that is stored and can't be read here. */
  constructor(
    store: Pick<FederationStore, 'list'>,
    onUnreadable: (trustDomain: TrustDomain, error: unknown) => void = () => undefined,
  ) {
    this.#store = store;
    this.#onUnreadable = onUnreadable;
  }

  /** Calls `listener` after each read that found another bundle, a new one, or one less. */
  onBundleChange(listener: () => void): void {
    this.#onBundleChange = listener;
  }

  /**
   * Reads them anew. To be called by one at a time; on a failure what was read before stays. So it does of one whose
   * bundle can't be read, which another version of ours may have taken: nobody else is held up by it.
   */
  async refresh(): Promise<void> {
    this.#list = await this.#store.list();
    const before = this.#bundles;
    this.#bundles = new Map(this.#list.flatMap((federation) => this.#bundleOf(federation)));
    const same =
      before.size === this.#bundles.size &&
      [...this.#bundles].every(([domain, bundle]) => before.get(domain) === bundle);
    if (!same) this.#onBundleChange();
  }

  list(): readonly Federation[] {
    return this.#list;
  }

  /** What is trusted of each, where anything is known of it. A bundle that has not changed is the same object. */
  bundles(): ReadonlyMap<TrustDomain, TrustBundle> {
    return this.#bundles;
  }

  /** Those whose endpoint has not been heard for longer than its publisher counts on; milliseconds since the epoch. */
  stale(now: number): Federation[] {
    return this.#list.filter(
      ({ endpoint, checkedAt, createdAt, bundle }) =>
        endpoint !== null &&
        isStale(now, (checkedAt ?? createdAt).getTime(), bundle?.refreshHintSeconds ?? null),
    );
  }

  /** Whether an endpoint is to be asked now, or there may be one to ask. */
  isDue(now: number): boolean {
    return this.#list.some(({ nextRefreshAt }) => nextRefreshAt !== null && nextRefreshAt.getTime() <= now);
  }

  #bundleOf({ trustDomain, bundle }: Federation): [TrustDomain, TrustBundle][] {
    if (bundle === null) return [];
    const before = this.#bundles.get(trustDomain);
    const trusted = before?.sequence === bundle.revision ? before : this.#read(trustDomain, bundle);
    return trusted === undefined ? [] : [[trustDomain, trusted]];
  }

  #read(trustDomain: TrustDomain, bundle: ForeignBundle): TrustBundle | undefined {
    try {
      return trustBundleOf(trustDomain, bundle);
    } catch (error) {
      if (!this.#unreadable.has(bundle.revision)) this.#onUnreadable(trustDomain, error);
      this.#unreadable.add(bundle.revision);
      return this.#bundles.get(trustDomain);
    }
  }
}
