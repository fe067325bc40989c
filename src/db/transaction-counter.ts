import { ENTRY_KINDS } from '../audit/log/entry.ts';
import { CarnetError } from '../errors.ts';
import type { Database } from './database.ts';

/** In one statement: a fraction of a second. */
const STEP = 50_000;
/** Some minutes. More than that no database of ours has seen, and it would wear out a cluster's counter. */
const MAX_GAP = 200_000_000n;

/**
 * Makes the cluster's transactions count from above all that are on record. They do, unless pg_restore brought the
 * records into a younger cluster: then what is recorded next would come before them, and the log, whose order is that
 * of transactions, would pass it over. To be called before anything is recorded. Returns how many were used up. Throws
 * `conflict` for a gap that is too large.
 */
export async function passRecordedTransactions(database: Database): Promise<bigint> {
  let used = 0n;
  for (;;) {
    const gap = await gapOf(database);
    if (gap <= 0n) return used;
    if (gap > MAX_GAP)
      throw new CarnetError(
        'conflict',
        `records are of transactions ${gap} later than this cluster has had: restore into the cluster that they are from`,
      );
    await database.query(useUp(Number(gap > STEP ? STEP : gap)));
    used += gap > STEP ? BigInt(STEP) : gap;
  }
}

async function gapOf(database: Database): Promise<bigint> {
  const latest = [
    ...Object.keys(ENTRY_KINDS).map((table) => `(SELECT xact FROM ${table} ORDER BY xact DESC LIMIT 1)`),
    '(SELECT xact FROM log_entry ORDER BY leaf_index DESC LIMIT 1)',
  ];
  const [row] = await database.query<{ gap: string }>(
    `SELECT coalesce(greatest(${latest.join(', ')})::text::numeric
       - pg_snapshot_xmax(pg_current_snapshot())::text::numeric + 1, 0) AS gap`,
  );
  return BigInt(row?.gap ?? 0);
}

/** Each subtransaction that writes takes one. */
function useUp(count: number): string {
  return `DO $$ BEGIN
    CREATE TEMPORARY TABLE IF NOT EXISTS carnet_used_up (one integer) ON COMMIT DELETE ROWS;
    FOR i IN 1..${count} LOOP
      BEGIN INSERT INTO carnet_used_up VALUES (1); EXCEPTION WHEN division_by_zero THEN NULL; END;
    END LOOP;
  END $$`;
}
