import type { Selector } from '../identity/selector.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { RegistrationEntry } from '../policy/entry.ts';
import type { Queryable } from './database.ts';

/** A row of entry; entry_version has the same columns, with `entry_id` for `id`. */
export interface EntryRow {
  readonly id: string;
  readonly version: number;
  readonly spiffe_id: string;
  readonly selectors: readonly Selector[];
  readonly dns_names: readonly string[];
  readonly ttl_seconds: number | null;
  readonly hint: string | null;
  readonly federates_with: readonly TrustDomain[];
}

export const ENTRY_COLUMNS =
  'id, version, spiffe_id, selectors, dns_names, ttl_seconds, hint, federates_with';

export function entryOf(row: EntryRow): RegistrationEntry {
  return {
    id: row.id,
    version: row.version,
    spiffeId: row.spiffe_id,
    selectors: row.selectors,
    dnsNames: row.dns_names,
    ttlSeconds: row.ttl_seconds,
    hint: row.hint,
    federatesWith: row.federates_with,
  };
}

export function rowOf(entry: RegistrationEntry): EntryRow {
  return {
    id: entry.id,
    version: entry.version,
    spiffe_id: entry.spiffeId,
    selectors: entry.selectors,
    dns_names: entry.dnsNames,
    ttl_seconds: entry.ttlSeconds,
    hint: entry.hint,
    federates_with: entry.federatesWith,
  };
}

/** One version of an entry from its history, also of one that was deleted since; null where there is none. */
export async function entryVersion(
  database: Queryable,
  id: string | null,
  version: number | null,
): Promise<RegistrationEntry | null> {
  const [row] = await database.query<EntryRow>(
    `SELECT entry_id AS id, version, spiffe_id, selectors, dns_names, ttl_seconds, hint, federates_with
     FROM entry_version WHERE entry_id = $1 AND version = $2`,
    [id, version],
  );
  return row ? entryOf(row) : null;
}
