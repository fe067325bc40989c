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

/** In JSON a NUL, of which PostgreSQL makes an error, and not the text `\\u0000`. */
const NUL = `'(^|[^\\\\])(\\\\\\\\)*\\\\u0000'`;

/** What an event says of a version; null where PostgreSQL can read none of it. */
function contentOf(ended: string): string {
  return `(SELECT CASE WHEN content::text ~ ${NUL} THEN NULL ELSE content END AS content
    FROM (SELECT CASE WHEN ${ended} THEN event.before ELSE event.after END AS content) AS said) AS told`;
}

/** A version is written before its event. Of those from $1 on: earlier ones' events may be out of history. */
const UNTOLD = `
  SELECT 'version ' || version || ' of the entry ' || entry_id || ' is not what any operator event says that somebody wrote' AS fault
  FROM entry_version AS version
  WHERE recorded_at >= timestamptz 'epoch' + $1::bigint * interval '1 microsecond'
    AND NOT EXISTS (
      SELECT FROM operator_event AS event CROSS JOIN LATERAL ${contentOf('version.deleted')} WHERE ${TELLS})
  ORDER BY entry_id, version LIMIT 1`;

const LOST = `
  SELECT 'the version of the entry ' || event.subject || ' is gone that ' || event.action || ' of version '
    || (told.content ->> 'version') || ' made' AS fault
  FROM operator_event AS event CROSS JOIN LATERAL ${contentOf("event.action = 'entry.delete'")}
  WHERE event.action IN ('entry.create', 'entry.update', 'entry.delete') AND told.content ->> 'version' IS NOT NULL AND NOT EXISTS (
    SELECT FROM entry_version AS kept WHERE kept.entry_id = event.subject
      AND (kept.version - (event.action = 'entry.delete')::integer)::text = told.content ->> 'version')
  ORDER BY event.recorded_at, event.id LIMIT 1`;

/** Versions count from 1, also of an entry that was deleted and made again. */
const GAP = `
  SELECT 'a version of the entry ' || entry_id || ' is gone: it has ' || count(*) || ', and the last is ' || max(version) AS fault
  FROM entry_version GROUP BY entry_id HAVING count(*) <> max(version) ORDER BY entry_id LIMIT 1`;

/** By what is granted from is what the last version says, or nothing where that ended the entry. */
const LIVE = `
  WITH last AS (SELECT DISTINCT ON (entry_id) * FROM entry_version ORDER BY entry_id DESC, version DESC)
  SELECT 'the entry ' || coalesce(entry.id, last.entry_id) || ' is not live as its last version says' AS fault
  FROM (SELECT * FROM last WHERE NOT deleted) AS last FULL JOIN entry ON entry.id = last.entry_id
  WHERE (entry.version, entry.spiffe_id, entry.selectors, entry.dns_names, entry.ttl_seconds, entry.hint, entry.federates_with)
    IS DISTINCT FROM
    (last.version, last.spiffe_id, last.selectors, last.dns_names, last.ttl_seconds, last.hint, last.federates_with)
  ORDER BY 1 LIMIT 1`;

/**
 * What of the registration entries does not fit what the log has of them, in words; null where all does: a version that no
 * operator event tells of, one that is gone, or a live entry that is not its last version. Versions from a time on, in
 * microseconds since the epoch, are held against events.
 */
export async function findFalseRule(database: Queryable, fromMicros: bigint): Promise<string | null> {
  const faults = [
    await database.query<{ fault: string }>(UNTOLD, [fromMicros]),
    await database.query<{ fault: string }>(LOST),
    await database.query<{ fault: string }>(GAP),
    await database.query<{ fault: string }>(LIVE),
  ];
  return faults.flat()[0]?.fault ?? null;
}
