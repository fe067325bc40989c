import type { LegalHold, LegalHolds, NewLegalHold } from '../audit/legal-hold.ts';
import { CarnetError } from '../errors.ts';
import type { Database, Queryable } from './database.ts';
import { insertEvents } from './operator-events.ts';

interface HoldRow {
  readonly id: string;
  readonly identity: string | null;
  readonly is_prefix: boolean;
  readonly held_from: Date | null;
  readonly held_to: Date | null;
  readonly reason: string;
  readonly actor: string;
  readonly created_at: Date;
  readonly released_at: Date | null;
  readonly release_actor: string;
  readonly release_reason: string;
}

/** Legal holds in PostgreSQL: rows that are added, and never changed. */
export class PostgresLegalHolds implements LegalHolds {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  list(): Promise<LegalHold[]> {
    return read(this.#database, 'true', []);
  }

  create(hold: NewLegalHold, actor: string): Promise<LegalHold> {
    return this.#database.transact(async (tx) => {
      const [row] = await tx.query<{ id: string }>(
        `INSERT INTO legal_hold (identity, is_prefix, held_from, held_to, reason, actor)
         VALUES ($1, $2, $3, $4, $5, $6) RETURNING id`,
        [hold.identity, hold.isPrefix, hold.from, hold.to, hold.reason, actor],
      );
      const subject = row?.id ?? '';
      const { reason } = hold;
      await insertEvents(tx, [
        { actor, action: 'hold.create', subject, before: null, after: { ...hold }, reason },
      ]);
      return find(tx, subject);
    });
  }

  release(id: number, reason: string, actor: string): Promise<LegalHold> {
    return this.#database.transact(async (tx) => {
      const { released, ...hold } = await find(tx, String(id));
      if (released !== null)
        throw new CarnetError(
          'conflict',
          `legal hold ${id} was released already, at ${released.at.toISOString()}`,
        );
      // Another's that comes at the same time is refused by the key.
      await tx.query('INSERT INTO legal_hold_release (hold_id, reason, actor) VALUES ($1, $2, $3)', [
        id,
        reason,
        actor,
      ]);
      await insertEvents(tx, [
        { actor, action: 'hold.release', subject: String(id), before: { ...hold }, after: null, reason },
      ]);
      return find(tx, String(id));
    });
  }
}

/** Throws `not_found`. */
async function find(database: Queryable, id: string): Promise<LegalHold> {
  const [hold] = await read(database, 'id = $1', [id]);
  if (hold === undefined) throw new CarnetError('not_found', `there is no legal hold ${id}`);
  return hold;
}

async function read(
  database: Queryable,
  condition: string,
  values: readonly unknown[],
): Promise<LegalHold[]> {
  const rows = await database.query<HoldRow>(
    `SELECT id, identity, is_prefix, held_from, held_to, h.reason, h.actor, created_at, released_at,
       r.actor AS release_actor, r.reason AS release_reason
     FROM legal_hold AS h LEFT JOIN legal_hold_release AS r ON hold_id = id WHERE ${condition} ORDER BY id`,
    values,
  );
  return rows.map((row) => ({
    id: Number(row.id),
    identity: row.identity,
    isPrefix: row.is_prefix,
    from: row.held_from,
    to: row.held_to,
    reason: row.reason,
    actor: row.actor,
    createdAt: row.created_at,
    released:
      row.released_at === null
        ? null
        : { at: row.released_at, actor: row.release_actor, reason: row.release_reason },
  }));
}
