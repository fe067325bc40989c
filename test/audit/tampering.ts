import { verifierOf } from '../../src/audit/log-key.ts';
import type { Verified, VerifyOptions } from '../../src/audit/verify-log.ts';
import { verifyLog } from '../../src/audit/verify-log.ts';
import type { Database, Queryable } from '../../src/db/database.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { PostgresLog } from '../../src/db/log.ts';
import { PostgresLogSource } from '../../src/db/log-source.ts';
import { insertEvents } from '../../src/db/operator-events.ts';
import { issuance } from '../db/fixtures.ts';
import { event, recordRevocation, sequenceAll } from '../db/log-fixtures.ts';

/** Of the log that {@link fillLog} makes; its checkpoints are of 3, 304 and this many entries, and may be of more. */
export const SIZE = 607;

/** Some of all kinds, in an order that a reader can count: entry 0 is an operator event, 3 to 302 are issuances, … */
export async function fillLog(database: Database): Promise<void> {
  await insertEvents(database, [event({ before: { a: 1 } }), event(), event()]);
  await sequenceAll(database, 3);
  await insertIssuances(
    database,
    Array.from({ length: 300 }, () => issuance()),
  );
  await recordRevocation(database);
  await sequenceAll(database, 304);
  await insertIssuances(
    database,
    Array.from({ length: 300 }, () => issuance()),
  );
  await insertEvents(database, [event({ before: { a: 1 } })]);
  await recordRevocation(database);
  await recordRevocation(database);
  await sequenceAll(database, SIZE);
}

export async function keyOf(database: Database) {
  const stored = await new PostgresLog(database).key();
  if (stored === null) throw new Error('the log has not begun');
  return verifierOf(stored);
}

/**
 * Verifies what the database would be after these statements, by one whom no trigger and no privilege hinders; then
 * nothing has happened.
 */
export async function verifyAfter(
  database: Database,
  statements: readonly string[],
  options: Partial<Pick<VerifyOptions, 'kept' | 'since'>> = {},
): Promise<Verified> {
  const key = await keyOf(database);
  const undone = new Error('undone');
  let result: Verified | undefined;
  await database
    .transact(async (tx) => {
      await switchTriggers(tx, 'DISABLE');
      for (const statement of statements) await tx.query(statement);
      const source = new PostgresLogSource(tx);
      result = await verifyLog({
        source,
        key,
        kept: [],
        since: null,
        onProgress: () => undefined,
        ...options,
      });
      throw undone;
    })
    .catch((error: unknown) => {
      if (error !== undone) throw error;
    });
  if (result === undefined) throw new Error('nothing was verified');
  return result;
}

/** Those that keep history as it was. */
export async function switchTriggers(tx: Queryable, to: 'DISABLE' | 'ENABLE'): Promise<void> {
  const tables = await tx.query<{ name: string }>(
    `SELECT DISTINCT tgrelid::regclass::text AS name FROM pg_trigger WHERE tgname = 'append_only'`,
  );
  for (const { name } of tables) await tx.query(`ALTER TABLE ${name} ${to} TRIGGER append_only`);
}
