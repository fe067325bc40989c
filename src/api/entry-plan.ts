import { createHash } from 'node:crypto';
import { CarnetError } from '../errors.ts';
import type { RegistrationEntry } from '../policy/entry.ts';
import type { EntryInput } from '../policy/entry-store.ts';

export interface EntryPlan {
  /** All of the inputs, each with its ID. */
  readonly inputs: readonly EntryInput[];
  readonly created: readonly EntryInput[];
  readonly updated: readonly EntryInput[];
  readonly unchanged: number;
  /** Those that the inputs don't name; empty without `prune`. */
  readonly deleted: readonly RegistrationEntry[];
}

/**
 * What applying `inputs` to the existing entries means. An input without an ID is the existing entry with the
 * same SPIFFE ID and selectors, else a new one whose ID follows from them: so applying a file twice changes
 * nothing the second time. Throws `entry_invalid` when two inputs are one entry.
 */
export function planEntries(
  existing: readonly RegistrationEntry[],
  inputs: readonly EntryInput[],
  prune: boolean,
): EntryPlan {
  const byId = new Map(existing.map((entry) => [entry.id, entry]));
  const byGrant = new Map(existing.map((entry) => [grantKey(entry), entry.id]));
  const named = new Map<string, EntryInput>();
  for (const input of inputs) {
    const id = input.id ?? byGrant.get(grantKey(input)) ?? derivedId(input);
    if (named.has(id))
      throw new CarnetError('entry_invalid', `two entries are the same one, ${id}: leave one out`);
    named.set(id, { ...input, id });
  }
  const changed = (input: EntryInput): boolean => {
    const entry = byId.get(input.id ?? '');
    return entry !== undefined && contentKey(entry) !== contentKey(input);
  };
  const all = [...named.values()];
  const created = all.filter(({ id }) => !byId.has(id ?? ''));
  const updated = all.filter(changed);
  return {
    inputs: all,
    created,
    updated,
    unchanged: all.length - created.length - updated.length,
    deleted: prune ? existing.filter(({ id }) => !named.has(id)) : [],
  };
}

/** What makes a grant: the order in which selectors are written doesn't. */
function grantKey({ spiffeId, selectors }: Pick<EntryInput, 'spiffeId' | 'selectors'>): string {
  return JSON.stringify([spiffeId, [...selectors].sort()]);
}

function contentKey(entry: Omit<EntryInput, 'id'>): string {
  const { spiffeId, selectors, dnsNames, ttlSeconds, hint, federatesWith } = entry;
  return JSON.stringify([spiffeId, selectors, dnsNames, ttlSeconds, hint, federatesWith]);
}

function derivedId(input: EntryInput): string {
  return `entry-${createHash('sha256').update(grantKey(input)).digest('hex').slice(0, 12)}`;
}
