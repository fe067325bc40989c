import type { Selector } from '../identity/selector.ts';
import { authorize } from './authorize.ts';
import type { Grant, RegistrationEntry } from './entry.ts';

/**
 * Entries by the rarest of their selectors, so that a caller is compared with a few of them instead of with
 * all. Immutable: a change of the entries makes a new index.
 */
export class EntryIndex {
  readonly entries: readonly RegistrationEntry[];
  readonly #byRarest = new Map<Selector, RegistrationEntry[]>();

  constructor(entries: readonly RegistrationEntry[]) {
    this.entries = entries;
    const uses = new Map<Selector, number>();
    for (const { selectors } of entries)
      for (const selector of selectors) uses.set(selector, (uses.get(selector) ?? 0) + 1);
    for (const entry of entries) {
      const [rarest] = entry.selectors.toSorted((a, b) => (uses.get(a) ?? 0) - (uses.get(b) ?? 0));
      if (rarest === undefined) continue;
      const bucket = this.#byRarest.get(rarest);
      if (bucket === undefined) this.#byRarest.set(rarest, [entry]);
      else bucket.push(entry);
    }
  }

  /** The same as `authorize(selectors, entries)`. */
  authorize(selectors: readonly Selector[]): Grant[] {
    return authorize(selectors, this.#candidates(selectors));
  }

  /** Every entry that can match is among them: it was filed under a selector that the caller then has. */
  #candidates(selectors: readonly Selector[]): RegistrationEntry[] {
    return [...new Set(selectors)].flatMap((selector) => this.#byRarest.get(selector) ?? []);
  }
}
