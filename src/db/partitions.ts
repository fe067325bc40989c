import type { Database } from './database.ts';

/** Enough for a server that isn't looked after for two months; rows beyond go to the default partition. */
const MONTHS_AHEAD = 2;

/**
 * Makes the monthly partitions of history ahead of time, by the database's clock; called at start and daily.
 * Returns the names of new ones. Throws `timeout` where a long query holds it up, `database_unavailable`.
 */
export async function ensurePartitions(database: Database): Promise<string[]> {
  const rows = await database.query<{ name: string }>('SELECT carnet_ensure_partitions($1) AS name', [
    MONTHS_AHEAD,
  ]);
  return rows.map(({ name }) => name);
}
