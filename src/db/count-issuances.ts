import { ENTRY_KINDS } from '../audit/log/entry.ts';
import type { Database, Queryable } from './database.ts';

/** Entries of the log in one transaction: some tenths of a second. */
const PORTION = 20_000;
/** Portions of one call: more are for the next. */
const MAX_PORTIONS = 100;

/**
 * Counts the issuances that came into the log since the last call, for reports: each once, because the log has each once,
 * in one order, and how far it is counted is kept with the counts. One server at a time; the others have nothing to do.
 * Returns how many entries it went over.
 */
export async function countIssuances(database: Database): Promise<number> {
  let counted = 0;
  for (let portion = 0; portion < MAX_PORTIONS; portion++) {
    const entries = await database.transact(countPortion);
    counted += entries;
    if (entries < PORTION) break;
  }
  return counted;
}

async function countPortion(tx: Queryable): Promise<number> {
  const [counted] = await tx.query<{ size: string }>('SELECT size FROM counted FOR UPDATE SKIP LOCKED');
  if (counted === undefined) return 0;
  const from = Number(counted.size);
  const [found] = await tx.query<{ entries: string; first: Date | null; last: Date | null }>(
    `SELECT count(*) AS entries, date_trunc('milliseconds', min(row_recorded_at)) AS first, max(row_recorded_at) AS last
     FROM log_entry WHERE leaf_index >= $1 AND leaf_index < $2`,
    [from, from + PORTION],
  );
  const entries = Number(found?.entries ?? 0);
  if (entries === 0) return 0;
  const to = from + entries;
  // The times say in which partitions the rows are.
  const last = new Date((found?.last?.getTime() ?? 0) + 1);
  await tx.query(COUNT, [from, to, found?.first, last]);
  await tx.query('UPDATE counted SET size = $1, at = statement_timestamp()', [to]);
  return entries;
}

function tally(table: string, keys: Readonly<Record<string, string>>): string {
  const columns = Object.keys(keys).join(', ');
  return `INSERT INTO ${table} AS counts (${columns}, issued, first_at, last_at)
    SELECT ${Object.values(keys).join(', ')}, count(*), min(recorded_at), max(recorded_at) FROM added
    GROUP BY ${Object.keys(keys).map((_, place) => place + 1)}
    ON CONFLICT (${columns}) DO UPDATE SET issued = counts.issued + excluded.issued,
      first_at = least(counts.first_at, excluded.first_at), last_at = greatest(counts.last_at, excluded.last_at)`;
}

const DAY = "(recorded_at AT TIME ZONE 'UTC')::date";
/** $1 and $2: entries; $3 and $4: between which times their rows were recorded. */
const COUNT = `
  WITH added AS MATERIALIZED (
    SELECT recorded_at, identity, entry_id, node, profile, authority_id
    FROM log_entry JOIN issuance ON recorded_at = row_recorded_at AND id = row_id
    WHERE leaf_index >= $1 AND leaf_index < $2 AND kind = ${ENTRY_KINDS.issuance}
      AND recorded_at >= $3 AND recorded_at < $4),
  by_rule AS (${tally('issuance_by_rule', { day: DAY, entry_id: "coalesce(entry_id, '')", identity: 'identity' })}),
  by_node AS (${tally('issuance_by_node', { day: DAY, node: "coalesce(node, '')" })})
  ${tally('issuance_by_signer', { hour: "date_trunc('hour', recorded_at, 'UTC')", profile: 'profile', authority_id: 'authority_id' })}`;
