import type { Attestation } from '../attestation/attestation.ts';
import type { Grant } from '../policy/entry.ts';
import { EntryIndex } from '../policy/entry-index.ts';
import type { EntryStore } from '../policy/entry-store.ts';
import { type Denial, denialOf } from '../revocation/denial.ts';

/** Who may have what, by entries and denials as this replica last read them. */
export class Grants {
  readonly #entries: Pick<EntryStore, 'list'>;
  readonly #listDenials: () => Promise<readonly Denial[]>;
  #index = new EntryIndex([]);
  #denials: readonly Denial[] = [];

  constructor(entries: Pick<EntryStore, 'list'>, listDenials: () => Promise<readonly Denial[]>) {
    this.#entries = entries;
    this.#listDenials = listDenials;
  }

  get index(): EntryIndex {
    return this.#index;
  }

  get denials(): readonly Denial[] {
    return this.#denials;
  }

  /** Reads one of them anew; on a failure what was read before stays. */
  async refresh(what: 'entries' | 'denials'): Promise<void> {
    if (what === 'entries') this.#index = new EntryIndex(await this.#entries.list());
    else this.#denials = await this.#listDenials();
  }

  /** What a caller on a node is granted and not denied, narrowest entry first. */
  of({ selectors, instance }: Attestation, node: string): readonly Grant[] {
    return this.#index
      .authorize(selectors)
      .filter(
        ({ spiffeId }) => denialOf(this.#denials, { identity: spiffeId, instance, node }) === undefined,
      );
  }
}
