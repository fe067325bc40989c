import type { Queryable } from './database.ts';

/** "carn" in ASCII: keeps our advisory locks apart from those of others in the same database. */
const LOCK_CLASS = 0x6361726e;
/** What is changed by one transaction at a time, in all replicas. */
const LOCKS = { entries: 1, authorities: 2, log: 3 } as const;

/** Waits for the lock, no longer than a statement may take (`timeout`); it is held until the transaction ends. */
export async function takeLock(tx: Queryable, lock: keyof typeof LOCKS): Promise<void> {
  await tx.query('SELECT pg_advisory_xact_lock($1, $2)', [LOCK_CLASS, LOCKS[lock]]);
}

/** Takes the lock if nobody has it; it is held until the transaction ends. */
export async function tryLock(tx: Queryable, lock: keyof typeof LOCKS): Promise<boolean> {
  const [row] = await tx.query<{ taken: boolean }>('SELECT pg_try_advisory_xact_lock($1, $2) AS taken', [
    LOCK_CLASS,
    LOCKS[lock],
  ]);
  return row?.taken === true;
}
