import { decodeCursor, encodeCursor } from '../audit/cursor.ts';
import type {
  OperatorEvent,
  OperatorEventFilter,
  OperatorEventPage,
  RecordedOperatorEvent,
} from '../audit/operator-event.ts';
import { Conditions } from './conditions.ts';
import type { Queryable } from './database.ts';

/** Records the events in the transaction of the changes that they tell of. */
export async function insertEvents(tx: Queryable, events: readonly OperatorEvent[]): Promise<void> {
  await tx.query(
    `INSERT INTO operator_event (actor, action, subject, before, after, reason)
     SELECT actor, action, subject, before, after, reason FROM json_to_recordset($1) AS given (
       actor text, action text, subject text, before json, after json, reason text)`,
    [JSON.stringify(events)],
  );
}

/** At most `limit` events that fit the filter, from the cursor on. Throws `cursor_invalid`. */
export async function listEvents(
  database: Queryable,
  page: { limit: number; cursor: string | null },
  filter: OperatorEventFilter = {},
): Promise<OperatorEventPage> {
  const after = page.cursor === null ? null : decodeCursor(page.cursor);
  const conditions = new Conditions();
  if (filter.actor !== undefined) conditions.add('actor = ?', filter.actor);
  if (filter.action?.endsWith('.')) {
    conditions.add('action COLLATE "C" >= ?', filter.action);
    // What comes after the dot: the first text that no longer begins so.
    conditions.add('action COLLATE "C" < ?', `${filter.action.slice(0, -1)}/`);
  } else if (filter.action !== undefined) conditions.add('action COLLATE "C" = ?', filter.action);
  if (filter.subject !== undefined) conditions.add('subject = ?', filter.subject);
  if (filter.from !== undefined) conditions.add('recorded_at >= ?', filter.from);
  if (filter.to !== undefined) conditions.add('recorded_at < ?', filter.to);
  if (after !== null) conditions.before('operator_event', after);
  const rows = await database.query<EventRow>(
    `SELECT id, (extract(epoch FROM recorded_at) * 1000000)::bigint AS micros,
       actor, action, subject, before, after, reason,
       (SELECT leaf_index FROM log_entry WHERE kind = ${LOGGED_KIND} AND row_id = operator_event.id) AS leaf_index
     FROM operator_event ${conditions.where()} ORDER BY recorded_at DESC, id DESC LIMIT ${page.limit + 1}`,
    conditions.values,
  );
  const shown = rows.slice(0, page.limit);
  const last = rows.length > page.limit ? shown.at(-1) : undefined;
  return {
    items: shown.map(eventOf),
    nextCursor: last ? encodeCursor({ recordedAtMicros: BigInt(last.micros), id: BigInt(last.id) }) : null,
  };
}

/** Of operator events in log_entry (migration 0012). */
const LOGGED_KIND = 3;

interface EventRow extends OperatorEvent {
  readonly id: string;
  readonly micros: string;
  readonly leaf_index: string | null;
}

function eventOf({ id: _id, micros, leaf_index, ...event }: EventRow): RecordedOperatorEvent {
  return {
    ...event,
    recordedAtMicros: BigInt(micros),
    logIndex: leaf_index === null ? null : Number(leaf_index),
  };
}
