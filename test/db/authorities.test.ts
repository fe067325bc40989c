import test from 'ava';
import type { NewAuthority } from '../../src/ca/authority-store.ts';
import { PostgresAuthorityStore } from '../../src/db/authorities.ts';
import { PostgresIssuanceQuery } from '../../src/db/issuance-query.ts';
import { Listener, type Topic } from '../../src/db/listen.ts';
import { listEvents } from '../../src/db/operator-events.ts';
import { type ErrorCode, errorCodeOf } from '../../src/errors.ts';
import { createDatabase } from '../support/database.ts';
import { issuance, log, openDatabase } from './fixtures.ts';

const created = await createDatabase();
const database = openDatabase(created.url);
const store = new PostgresAuthorityStore(database);
test.after.always(async () => {
  await database.close();
  await created.drop();
});

function authority(id: string, fields: Partial<NewAuthority> = {}): NewAuthority {
  return {
    id,
    kind: 'root',
    state: 'prepared',
    parentId: id,
    certificate: Buffer.from(`certificate of ${id}`),
    notBefore: new Date('2026-01-01T00:00:00.000Z'),
    notAfter: new Date('2027-01-01T00:00:00.000Z'),
    keyAlgorithm: 'ec-p256',
    sealedKey: Buffer.from(`sealed key of ${id}`),
    keyReference: null,
    crossCertificate: null,
    intermediates: [],
    ...fields,
  };
}

const certificateOf = (id: string): Buffer => Buffer.from(`certificate of ${id}`);

test.serial('before the first start there is neither authority nor bundle', async (t) => {
  t.deepEqual(await store.list(), []);
  t.is(await store.bundle(), undefined);
});

test.serial(
  'all that a transaction does is there when it resolves, in the order in which it was made',
  async (t) => {
    const recorded = issuance({
      node: null,
      instance: null,
      evidence: null,
      entryId: null,
      entryVersion: null,
    });
    const intermediates = [Buffer.from('one'), Buffer.from('two')];
    const result = await store.transact(async (tx) => {
      await tx.insert(authority('root-b', { intermediates }));
      await tx.insert(authority('root-a', { sealedKey: null, keyAlgorithm: 'rsa-4096' }));
      await tx.setState('root-b', 'active');
      await tx.publishBundle(['root-b', 'root-a'], []);
      await tx.record(recorded);
      await tx.event({
        actor: 'schedule:ca',
        action: 'authority.create',
        subject: 'root-b',
        before: null,
        after: { state: 'active' },
        reason: 'first start',
      });
      return (await tx.list()).length;
    });
    t.is(result, 2);
    const authorities = await store.list();
    t.deepEqual(
      authorities.map(({ createdAt, stateSince, publishedSequence, ...rest }) => rest),
      [
        authority('root-b', { state: 'active', intermediates }),
        authority('root-a', { sealedKey: null, keyAlgorithm: 'rsa-4096' }),
      ],
    );
    t.like(await store.bundle(), {
      x509Authorities: [certificateOf('root-b'), certificateOf('root-a')],
      crls: [],
    });
    t.truthy(await new PostgresIssuanceQuery(database).get(recorded.serial));
    const { items } = await listEvents(database, { limit: 1, cursor: null });
    t.like(items[0], {
      action: 'authority.create',
      subject: 'root-b',
      reason: 'first start',
      after: { state: 'active' },
    });
  },
);

test.serial(
  'sequences grow with each bundle, and begin at the time of day: none returns after a restore',
  async (t) => {
    const before = (await store.bundle())?.sequence ?? 0;
    const second = Math.floor(Date.now() / 1000);
    t.true(before > second - 60 && before <= second + 1);
    for (let i = 0; i < 3; i++) await store.transact((tx) => tx.publishBundle(['root-a'], []));
    const bundle = await store.bundle();
    t.true((bundle?.sequence ?? 0) >= before + 3);
    t.deepEqual(bundle?.x509Authorities, [certificateOf('root-a')]);
  },
);

test.serial('a bundle that brings proxies nothing keeps the sequence that they acknowledge', async (t) => {
  const before = await store.bundle();
  await store.transact((tx) => tx.publishBundle(['root-a'], []));
  const same = await store.bundle();
  t.true((same?.sequence ?? 0) > (before?.sequence ?? 0));
  t.is(same?.x509Sequence, before?.x509Sequence);
  await store.transact((tx) => tx.publishBundle(['root-b', 'root-a'], []));
  const changed = await store.bundle();
  t.is(changed?.x509Sequence, changed?.sequence);
});

test.serial('a transaction that fails leaves nothing', async (t) => {
  const before = [await store.list(), await store.bundle()];
  const recorded = issuance();
  await t.throwsAsync(
    store.transact(async (tx) => {
      await tx.insert(authority('root-c'));
      await tx.publishBundle(['root-c'], []);
      await tx.record(recorded);
      throw new Error('as the test says');
    }),
    { message: 'as the test says' },
  );
  t.deepEqual([await store.list(), await store.bundle()], before);
  t.is(await new PostgresIssuanceQuery(database).get(recorded.serial), undefined);
});

for (const [what, work, code] of [
  ['the state of an unknown authority', (tx) => tx.setState('none', 'active'), 'not_found'],
  ['a bundle with an unknown root', (tx) => tx.publishBundle(['root-a', 'none'], []), 'not_found'],
  ['a bundle of nothing', (tx) => tx.publishBundle([], []), 'invalid_argument'],
  ['an authority that is there', (tx) => tx.insert(authority('root-a')), 'already_exists'],
  [
    'a child of an unknown parent',
    (tx) => tx.insert(authority('x', { parentId: 'none' })),
    'invalid_argument',
  ],
] as [string, Parameters<typeof store.transact<void>>[0], ErrorCode][])
  test.serial(`refuses ${what}`, async (t) => {
    t.is(errorCodeOf(await t.throwsAsync(store.transact(work))), code);
  });

test.serial('transactions of two replicas follow one another', async (t) => {
  const other = openDatabase(created.url);
  const stores = [store, new PostgresAuthorityStore(other)];
  const before = (await store.bundle())?.sequence ?? 0;
  let inside = 0;
  await Promise.all(
    stores.flatMap((one) =>
      [1, 2, 3].map(() =>
        one.transact(async (tx) => {
          t.is(++inside, 1);
          await tx.publishBundle(['root-a'], []);
          inside--;
        }),
      ),
    ),
  );
  t.true(((await store.bundle())?.sequence ?? 0) >= before + 6);
  await other.close();
});

test.serial('wakes the replicas for what was changed, and no more', async (t) => {
  const heard: Topic[] = [];
  let wakes = 3;
  let woken = Promise.withResolvers<void>();
  const listener = new Listener({
    url: created.url,
    log,
    random: () => 0,
    wake: (topic) => {
      heard.push(topic);
      if (heard.length === wakes) woken.resolve();
    },
  });
  await woken.promise;
  for (const [work, topics] of [
    [(tx) => tx.setState('root-a', 'published'), ['authorities']],
    [(tx) => tx.publishBundle(['root-b'], []), ['bundle', 'authorities']],
    [
      async (tx) => {
        await tx.publishBundle(['root-a'], []);
        await tx.setState('root-a', 'active');
        await tx.insert(authority('root-d'));
      },
      ['bundle', 'authorities'],
    ],
  ] as [Parameters<typeof store.transact<void>>[0], Topic[]][]) {
    heard.length = 0;
    wakes = topics.length;
    woken = Promise.withResolvers();
    await store.transact(async () => undefined);
    await store.transact(work);
    await woken.promise;
    t.deepEqual(heard, topics);
  }
  await listener.close();
});
