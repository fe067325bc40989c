import { decodeCursor, encodeCursor, timestampOf } from '../audit/cursor.ts';
import type { OperatorEvent } from '../audit/operator-event.ts';
import type { Queryable } from './database.ts';

export interface RecordedOperatorEvent extends OperatorEvent {
  /** By the database's clock: microseconds since the epoch. */
  readonly recordedAtMicros: bigint;
}

export interface OperatorEventPage {
  /** Newest first. */
  readonly items: readonly RecordedOperatorEvent[];
  /** Opaque; null on the last page. */
  readonly nextCursor: string | null;
}

/** Records the events in the transaction of the changes that they tell of. */
export async function insertEvents(tx: Queryable, events: readonly OperatorEvent[]): Promise<void> {
  await tx.query(
    `INSERT INTO operator_event (actor, action, subject, before, after, reason)
     SELECT actor, action, subject, before, after, reason FROM json_to_recordset($1) AS given (
       actor text, action text, subject text, before json, after json, reason text)`,
    [JSON.stringify(events)],
  );
}

/** At most `limit` events from the cursor on. Throws `cursor_invalid`. */
export async function listEvents(
  database: Queryable,
  page: { limit: number; cursor: string | null },
): Promise<OperatorEventPage> {
  const after = page.cursor === null ? null : decodeCursor(page.cursor);
  const rows = await database.query<OperatorEvent & { id: string; micros: string }>(
    `SELECT id, (extract(epoch FROM recorded_at) * 1000000)::bigint AS micros,
       actor, action, subject, before, after, reason
     FROM operator_event WHERE recorded_at <= $1 AND (recorded_at, id) < ($1, $2)
     ORDER BY recorded_at DESC, id DESC LIMIT $3`,
    [after ? timestampOf(after.recordedAtMicros) : 'infinity', after?.id.toString() ?? 0, page.limit + 1],
  );
  const items = rows.slice(0, page.limit).map(({ id, micros, ...event }) => ({
    id: BigInt(id),
    recordedAtMicros: BigInt(micros),
    ...event,
  }));
  const last = rows.length > page.limit ? items.at(-1) : undefined;
  return { items: items.map(({ id, ...event }) => event), nextCursor: last ? encodeCursor(last) : null };
}
