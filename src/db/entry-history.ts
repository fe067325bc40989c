import type { Queryable } from './database.ts';

/**
 * SQL: whether an operator event tells of a version of an entry what the version says of itself (db/entries.ts writes both
 * in one transaction). One that ended an entry has the content of the last, under a number more. Fields that came in
 * later versions of ours may be missing.
 */
const TELLS = `
  event.subject = version.entry_id AND event.actor = version.actor
  AND CASE WHEN version.deleted THEN event.action = 'entry.delete' ELSE event.action IN ('entry.create', 'entry.update') END
  AND told.content ->> 'version' = (version.version - version.deleted::integer)::text
  AND told.content ->> 'spiffeId' = version.spiffe_id
  AND (told.content -> 'selectors')::jsonb = to_jsonb(version.selectors)
  AND (told.content -> 'dnsNames')::jsonb = to_jsonb(version.dns_names)
  AND told.content ->> 'ttlSeconds' IS NOT DISTINCT FROM version.ttl_seconds::text
  AND told.content ->> 'hint' IS NOT DISTINCT FROM version.hint
  AND coalesce((told.content -> 'federatesWith')::jsonb, '[]') = to_jsonb(version.federates_with)`;

/**
 * A version of a registration entry that no operator event tells of, in words; null for none. Of those from a time on, in
 * microseconds since the epoch: earlier ones' events may be out of history. A version is written before its event.
 */
export async function findUntoldVersion(database: Queryable, fromMicros: bigint): Promise<string | null> {
  const [row] = await database.query<{ named: string }>(
    `SELECT 'version ' || version || ' of the entry ' || entry_id AS named FROM entry_version AS version
     WHERE recorded_at >= timestamptz 'epoch' + $1::bigint * interval '1 microsecond'
       AND NOT EXISTS (
         SELECT FROM operator_event AS event
         CROSS JOIN LATERAL (SELECT CASE WHEN version.deleted THEN event.before ELSE event.after END AS content) AS told
         WHERE ${TELLS})
     ORDER BY entry_id, version LIMIT 1`,
    [fromMicros],
  );
  return row?.named ?? null;
}
