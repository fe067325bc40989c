import type { Selector } from '../identity/selector.ts';
import type { SpiffeId } from '../identity/spiffe-id.ts';
import type { Grant, RegistrationEntry } from './entry.ts';
import { fillIdTemplate } from './id-template.ts';

/** What one entry means for one caller, and why. */
export type Decision =
  | { readonly outcome: 'granted'; readonly entry: RegistrationEntry; readonly spiffeId: SpiffeId }
  | {
      readonly outcome: 'selectors_missing';
      readonly entry: RegistrationEntry;
      readonly missing: readonly Selector[];
    }
  /** All selectors match, but a placeholder can't be filled in; `fault` says which and why. */
  | { readonly outcome: 'placeholder_unfilled'; readonly entry: RegistrationEntry; readonly fault: string }
  /** The entry `by`, which comes first, grants the same identity. */
  | {
      readonly outcome: 'shadowed';
      readonly entry: RegistrationEntry;
      readonly spiffeId: SpiffeId;
      readonly by: string;
    };

/**
 * The identities of a caller that shows these selectors: one grant for each entry of which all selectors
 * match and all placeholders fill. The narrowest entry, with the most selectors, comes first (it is the caller's
 * `default`: what is said of a program of a user goes before what is said of the user), and among equals the
 * first by ID, by ASCII. Where two entries give the same identity, the one that comes first stands, with its
 * DNS names and lifetime.
 */
export function authorize(selectors: readonly Selector[], entries: Iterable<RegistrationEntry>): Grant[] {
  return explain(selectors, entries).flatMap((decision) =>
    decision.outcome === 'granted' ? [grantOf(decision.entry, decision.spiffeId)] : [],
  );
}

/** Why each entry does or doesn't grant something to a caller that shows these selectors, narrowest first. */
export function explain(selectors: readonly Selector[], entries: Iterable<RegistrationEntry>): Decision[] {
  const shown = new Set(selectors);
  const grantedBy = new Map<SpiffeId, string>();
  return [...entries].sort(narrowestFirst).map((entry) => {
    const missing = entry.selectors.filter((selector) => !shown.has(selector));
    // Without selectors an entry would match everybody: parse-entry.ts lets none through, and none matches.
    if (missing.length > 0 || entry.selectors.length === 0)
      return { outcome: 'selectors_missing', entry, missing };
    const filled = fillIdTemplate(entry.spiffeId, selectors);
    if ('fault' in filled) return { outcome: 'placeholder_unfilled', entry, fault: filled.fault };
    const by = grantedBy.get(filled.id);
    if (by !== undefined) return { outcome: 'shadowed', entry, spiffeId: filled.id, by };
    grantedBy.set(filled.id, entry.id);
    return { outcome: 'granted', entry, spiffeId: filled.id };
  });
}

function grantOf(entry: RegistrationEntry, spiffeId: SpiffeId): Grant {
  return {
    entryId: entry.id,
    entryVersion: entry.version,
    spiffeId,
    dnsNames: entry.dnsNames,
    ttlSeconds: entry.ttlSeconds,
    hint: entry.hint,
    federatesWith: entry.federatesWith,
  };
}

function narrowestFirst(a: RegistrationEntry, b: RegistrationEntry): number {
  const narrower = b.selectors.length - a.selectors.length;
  if (narrower !== 0) return narrower;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}
