import type { Queryable } from './database.ts';

/**
 * Takes, or goes on with, the lease of a name for so many seconds from now, by Postgres' clock: whether it is the
 * holder's. Unlike a session's lock it outlives neither its time nor a pooled connection's way elsewhere.
 */
export async function takeLease(
  database: Queryable,
  name: string,
  holder: string,
  seconds: number,
): Promise<boolean> {
  const rows = await database.query(
    `INSERT INTO lease (name, holder, expires_at) VALUES ($1, $2, statement_timestamp() + make_interval(secs => $3))
     ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
       WHERE lease.holder = excluded.holder OR lease.expires_at < statement_timestamp()
     RETURNING name`,
    [name, holder, seconds],
  );
  return rows.length > 0;
}

/** Gives it back before its time, so that the next holder need not wait. */
export async function releaseLease(database: Queryable, name: string, holder: string): Promise<void> {
  await database.query('DELETE FROM lease WHERE name = $1 AND holder = $2', [name, holder]);
}
