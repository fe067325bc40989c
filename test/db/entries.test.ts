import test from 'ava';
import { PostgresEntryStore } from '../../src/db/entries.ts';
import { Listener, type Topic } from '../../src/db/listen.ts';
import { listEvents } from '../../src/db/operator-events.ts';
import { errorCodeOf } from '../../src/errors.ts';
import { parseSelector } from '../../src/identity/selector.ts';
import type { EntryInput } from '../../src/policy/entry-store.ts';
import { createDatabase } from '../support/database.ts';
import { log, openDatabase } from './fixtures.ts';

const created = await createDatabase();
const database = openDatabase(created.url);
const entries = new PostgresEntryStore(database);
test.after.always(async () => {
  await database.close();
  await created.drop();
});

function input(id: string | null, fields: Partial<EntryInput> = {}): EntryInput {
  return {
    id,
    spiffeId: `spiffe://carnet.local/${id}`,
    selectors: [parseSelector('unix:uid:1000'), parseSelector('unix:path:/bin/ü "x"')],
    dnsNames: ['web.internal'],
    ttlSeconds: null,
    hint: null,
    federatesWith: [],
    ...fields,
  };
}

const history = (id: string): Promise<object[]> =>
  database.query(
    'SELECT version, ttl_seconds, deleted, actor FROM entry_version WHERE entry_id = $1 ORDER BY version',
    [id],
  );

test.serial('each change is a version with its event; a deleted entry goes on counting', async (t) => {
  const first = await entries.create(input('web'), 'operator:ann');
  t.deepEqual(first, { ...input('web'), id: 'web', version: 1 });
  const { updated } = await entries.apply(
    [input('web', { ttlSeconds: 60, hint: 'internal' })],
    'operator:bob',
  );
  t.deepEqual(updated, [{ ...first, version: 2, ttlSeconds: 60, hint: 'internal' }]);
  t.deepEqual(await entries.list(), updated);
  t.deepEqual(await entries.delete('web', 'operator:ann'), updated[0]);
  t.deepEqual(await entries.list(), []);
  t.is((await entries.create(input('web'), 'operator:cat')).version, 4);
  t.deepEqual(await history('web'), [
    { version: 1, ttl_seconds: null, deleted: false, actor: 'operator:ann' },
    { version: 2, ttl_seconds: 60, deleted: false, actor: 'operator:bob' },
    { version: 3, ttl_seconds: 60, deleted: true, actor: 'operator:ann' },
    { version: 4, ttl_seconds: null, deleted: false, actor: 'operator:cat' },
  ]);
  const { items } = await listEvents(database, { limit: 10, cursor: null });
  t.deepEqual(
    items.map(({ actor, action, subject, before, after }) => [
      actor,
      action,
      subject,
      before?.version,
      after?.version,
    ]),
    [
      ['operator:cat', 'entry.create', 'web', undefined, 4],
      ['operator:ann', 'entry.delete', 'web', 2, undefined],
      ['operator:bob', 'entry.update', 'web', 1, 2],
      ['operator:ann', 'entry.create', 'web', undefined, 1],
    ],
  );
});

test.serial('makes an ID for an entry without one', async (t) => {
  const { id } = await entries.create(input(null), 'operator:ann');
  t.regex(id, /^[A-Za-z0-9._-]{1,128}$/);
  await entries.delete(id, 'operator:ann');
});

test.serial('refuses to create what is there, and to delete what is not', async (t) => {
  t.is(errorCodeOf(await t.throwsAsync(entries.create(input('web'), 'operator:ann'))), 'already_exists');
  t.is(
    errorCodeOf(await t.throwsAsync(entries.create(input('web', { ttlSeconds: 9 }), 'operator:ann'))),
    'already_exists',
  );
  t.is(errorCodeOf(await t.throwsAsync(entries.delete('none', 'operator:ann'))), 'not_found');
  t.is((await history('web')).length, 4);
});

test.serial('apply tells what it made, what it changed, and what was so already', async (t) => {
  const changes = await entries.apply(
    [input('web'), input('api'), input('db', { ttlSeconds: 5 })],
    'operator:ann',
  );
  t.deepEqual(
    changes.created.map(({ id, version }) => [id, version]),
    [
      ['api', 1],
      ['db', 1],
    ],
  );
  t.deepEqual([changes.updated, changes.unchanged], [[], 1]);
  const again = await entries.apply([input('api'), input('db')], 'operator:ann');
  t.deepEqual(
    again.updated.map(({ id, version }) => [id, version]),
    [['db', 2]],
  );
  t.deepEqual([again.created, again.unchanged], [[], 1]);
});

for (const [what, inputs] of [
  ['an entry without an ID', [input('new'), input(null)]],
  ['the same ID twice', [input('new'), input('new')]],
] as const)
  test.serial(`apply refuses ${what}, and changes nothing`, async (t) => {
    const before = await entries.list();
    t.is(errorCodeOf(await t.throwsAsync(entries.apply(inputs, 'operator:ann'))), 'entry_invalid');
    t.deepEqual(await entries.list(), before);
  });

test.serial('refuses with conflict to go past the limit, and changes nothing', async (t) => {
  const before = await entries.list();
  const limited = new PostgresEntryStore(database, before.length + 1);
  const error = await t.throwsAsync(limited.apply([input('one'), input('two')], 'operator:ann'));
  t.is(errorCodeOf(error), 'conflict');
  t.deepEqual(await entries.list(), before);
  t.deepEqual(await history('one'), []);
  await limited.apply([input('one')], 'operator:ann');
  t.is((await entries.list()).length, before.length + 1);
});

test.serial('of two creations of one ID at once, one wins', async (t) => {
  const both = await Promise.allSettled(
    [1, 2].map((ttlSeconds) => entries.create(input('race', { ttlSeconds }), 'a')),
  );
  t.deepEqual(both.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected']);
  t.is((await history('race')).length, 1);
});

test.serial('a change wakes the listeners once it is committed, a failed one does not', async (t) => {
  const heard: Topic[] = [];
  let wake = Promise.withResolvers<void>();
  const listener = new Listener({
    url: created.url,
    log,
    random: () => 0,
    wake: (topic) => {
      heard.push(topic);
      wake.resolve();
    },
  });
  await wake.promise;
  heard.length = 0;
  wake = Promise.withResolvers();
  await t.throwsAsync(entries.delete('none', 'operator:ann'));
  await entries.apply([input('woken')], 'operator:ann');
  await wake.promise;
  t.deepEqual(heard, ['entries']);
  t.true((await entries.list()).some(({ id }) => id === 'woken'));
  await listener.close();
});
