import test from 'ava';
import type { OperatorEventFilter } from '../../src/audit/operator-event.ts';
import { insertEvents, listEvents } from '../../src/db/operator-events.ts';
import { errorCodeOf } from '../../src/errors.ts';
import { createDatabase } from '../support/database.ts';
import { openDatabase } from './fixtures.ts';

const created = await createDatabase();
const database = openDatabase(created.url);
test.after.always(async () => {
  await database.close();
  await created.drop();
});

const MADE = [
  ['operator:eve', 'entry.create', 'web'],
  ['operator:ada', 'entry.update', 'web'],
  ['operator:eve', 'token.create', 'web'],
  ['operator:eve', 'entry.delete', 'api'],
  ['operator:eve', 'entryway.create', 'web'],
] as const;

test.before(async () => {
  for (const [actor, action, subject] of MADE)
    await insertEvents(database, [
      { actor, action, subject, before: { version: 1 }, after: null, reason: 'why' },
    ]);
});

/** The places of what is found among those that were made, page by page. */
async function found(filter: OperatorEventFilter): Promise<number[]> {
  const places: number[] = [];
  let cursor: string | null = null;
  do {
    const page = await listEvents(database, { limit: 2, cursor }, filter);
    for (const { actor, action, subject } of page.items)
      places.push(MADE.findIndex((one) => `${one}` === `${[actor, action, subject]}`));
    cursor = page.nextCursor;
  } while (cursor !== null);
  return places;
}

test.serial('events are found by who, what and to which, newest first', async (t) => {
  t.deepEqual(await found({}), [4, 3, 2, 1, 0]);
  t.deepEqual(await found({ actor: 'operator:eve' }), [4, 3, 2, 0]);
  t.deepEqual(await found({ action: 'entry.create' }), [0]);
  t.deepEqual(await found({ action: 'entry.' }), [3, 1, 0]);
  t.deepEqual(await found({ subject: 'web', action: 'entry.' }), [1, 0]);
  t.deepEqual(await found({ actor: 'operator:eve', action: 'entry.', subject: 'web' }), [0]);
  t.deepEqual(await found({ action: 'none.' }), []);
});

test.serial('events are found by time, the beginning inclusive and the end exclusive', async (t) => {
  const [row] = await database.query<{ at: Date }>(
    "SELECT date_trunc('hour', now()) + interval '2 hours' AS at",
  );
  const at = row?.at ?? new Date();
  for (const [subject, shift] of [
    ['before', -1],
    ['at', 0],
    ['after', 1],
  ])
    await database.query(
      `INSERT INTO operator_event (recorded_at, actor, action, subject, reason)
       VALUES ($1::timestamptz + $2 * interval '1 hour', 'timed', 'x.y', $3, '')`,
      [at, shift, subject],
    );
  const subjects = async (filter: OperatorEventFilter): Promise<string[]> =>
    (await listEvents(database, { limit: 10, cursor: null }, { actor: 'timed', ...filter })).items.map(
      ({ subject }) => subject,
    );
  t.deepEqual(await subjects({ from: at }), ['after', 'at']);
  t.deepEqual(await subjects({ to: at }), ['before']);
});

test.serial(
  'an event has its state before and after, and its place in the log once it is there',
  async (t) => {
    const { items } = await listEvents(database, { limit: 1, cursor: null }, { action: 'entry.create' });
    const [event] = items;
    t.like(event, { before: { version: 1 }, after: null, reason: 'why', logIndex: null });
    await database.query(
      `INSERT INTO log_entry (leaf_index, kind, xact, row_id, row_recorded_at, leaf_hash)
     SELECT 41, 3, xact, id, recorded_at, sha256('') FROM operator_event WHERE action = 'entry.create'`,
    );
    const again = await listEvents(database, { limit: 1, cursor: null }, { action: 'entry.create' });
    t.is(again.items[0]?.logIndex, 41);
  },
);

test.serial('a cursor that is none of ours is refused', async (t) => {
  const error = await t.throwsAsync(listEvents(database, { limit: 1, cursor: 'x' }));
  t.is(errorCodeOf(error), 'cursor_invalid');
});
