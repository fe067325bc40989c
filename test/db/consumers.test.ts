import test from 'ava';
import { agentPresenters } from '../../src/db/agent-presenters.ts';
import {
  listConsumers,
  noteHandedOut,
  outstandingOf,
  PostgresFleetStore,
  pruneConsumers,
} from '../../src/db/consumers.ts';
import { summarizeFleet } from '../../src/db/fleet-summary.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import type { ConsumerRecord } from '../../src/delivery/member.ts';
import { createDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';
import { issuance, openDatabase } from './fixtures.ts';

const HOUR_MS = 3_600_000;
const created = await createDatabase();
const database = openDatabase(created.url);
const store = new PostgresFleetStore(database, 'node-1', '/run/a.sock');
const other = new PostgresFleetStore(database, 'node-1', '/run/b.sock');
test.afterEach.always(() => database.query('DELETE FROM consumer'));
test.after.always(async () => {
  await database.close();
  await created.drop();
});

test.serial(
  'what an agent stores of an instance comes back whole, to it and in the list of all',
  async (t) => {
    const record = consumer('process:1', {
      names: ['web "1"', '{,}'],
      identities: ['spiffe://td/a', 'spiffe://td/b'],
      bundleSent: 7,
      bundleSentAt: 1_800_000_000_123,
      bundleAcknowledged: 6,
      bundleObserved: 5,
      observesUntil: 1_800_000_000_789,
      authorities: ['issuing-1', 'issuing-2'],
      holdsUntil: 1_800_000_000_456,
      problem: "refused: “\\ 'x'”",
    });
    await store.write({ records: [record, consumer('process:2')], ended: [] });
    const { records } = await store.load();
    const listed = await listConsumers(database, 'node-1');
    const bundleSentAt = listed[0]?.bundleSentAt ?? null;
    t.deepEqual(
      records.find(({ instance }) => instance === 'process:1'),
      { ...record, bundleSentAt, node: 'node-1' } as ConsumerRecord,
    );
    const { keepUntil: _, held: __, ...known } = record;
    t.deepEqual(listed[0], { ...known, bundleSentAt, node: 'node-1' });
    t.is(listed.length, 2);
    t.deepEqual(await listConsumers(database, 'node-2'), []);
  },
);

test.serial(
  'the last of what is stored of an instance counts; what ended is removed, of this agent only',
  async (t) => {
    await store.write({ records: [consumer('process:1'), consumer('process:2')], ended: [] });
    await other.write({ records: [consumer('process:2')], ended: [] });
    await store.write({ records: [consumer('process:1', { streams: 0 })], ended: ['process:2'] });
    t.deepEqual(
      (await store.load()).records.map(({ instance, streams }) => [instance, streams]),
      [['process:1', 0]],
    );
    t.is((await other.load()).records.length, 1);
  },
);

test.serial('who presents only what is revoked keeps no authority in use', async (t) => {
  const authorities = ['issuing-1'];
  const both = ['spiffe://td/a', 'spiffe://td/b'];
  const denial = 'INSERT INTO denial (instance, identity, node, reason, actor) VALUES ($1, $2, $3, $4, $4)';
  t.teardown(() => database.query('UPDATE denial SET lifted_at = now()'));
  for (const [instance, identity, node] of [
    ['process:1', null, null],
    ['process:2', 'spiffe://td/a', null],
    ['process:3', 'spiffe://td/a', null],
    ['process:3', 'spiffe://td/b', 'node-1'],
    ['process:4', null, 'node-2'],
  ])
    await database.query(denial, [instance, identity, node, 'test']);
  const instances = ['process:1', 'process:2', 'process:3', 'process:4', 'process:5'];
  await store.write({
    records: instances.map((instance) => consumer(instance, { authorities, identities: both })),
    ended: [],
  });
  const found = async () =>
    (await listConsumers(database)).map((one) => [one.instance, one.authorities.length]);
  t.deepEqual(await found(), [
    ['process:1', 0],
    ['process:2', 1],
    ['process:3', 0],
    ['process:4', 1],
    ['process:5', 1],
  ]);
  await database.query("UPDATE denial SET lifted_at = now() WHERE instance = 'process:1'");
  t.deepEqual((await found())[0], ['process:1', 1]);
});

test.serial(
  'an acknowledgement of a bundle that came after a restored backup counts for nothing',
  async (t) => {
    await database.query(
      "INSERT INTO trust_bundle (sequence, root_ids, x509_authorities) VALUES (4, '{}', '{}'), (7, '{}', '{}')",
    );
    await store.write({
      records: [
        consumer('process:1', { bundleSent: 9, bundleAcknowledged: 7 }),
        consumer('process:2', { bundleSent: 8, bundleAcknowledged: 8, bundleObserved: 8 }),
        consumer('process:3', { bundleSent: null, bundleAcknowledged: null }),
      ],
      ended: [],
    });
    t.deepEqual(
      (await listConsumers(database)).map((one) => [
        one.bundleSent,
        one.bundleAcknowledged,
        one.bundleObserved,
      ]),
      [
        [0, 7, null],
        [0, 0, 0],
        [null, null, null],
      ],
    );
  },
);

test.serial(
  'what is handed out without a stream counts until it ends, since the bundle was first sent',
  async (t) => {
    const [soon, later] = [new Date(Date.now() + HOUR_MS), new Date(Date.now() + 2 * HOUR_MS)];
    const handed = { instance: 'pod:1', node: 'n1', identity: 'spiffe://td/a', sequence: 3, notAfter: soon };
    await insertIssuances(database, [
      issuance({ instance: 'pod:1', authority: 'issuing-1', notAfter: soon }),
      issuance({ instance: 'pod:1', authority: 'issuing-2', notAfter: later }),
    ]);
    await noteHandedOut(database, 'istio', handed);
    const [first] = await listConsumers(database);
    t.like(first, { instance: 'pod:1', node: 'n1', streams: 0, acknowledges: false, bundleSent: 3 });
    t.deepEqual(first?.authorities.toSorted(), ['issuing-1', 'issuing-2']);
    await noteHandedOut(database, 'istio', { ...handed, notAfter: later });
    const [again] = await listConsumers(database);
    t.like(again, { bundleSentAt: first?.bundleSentAt, holdsUntil: later.getTime() });
    await noteHandedOut(database, 'istio', { ...handed, sequence: 4 });
    const [newer] = await listConsumers(database);
    t.like(newer, { bundleSentAt: first?.bundleSentAt, bundleSent: 4, holdsUntil: later.getTime() });
  },
);

test.serial(
  'a hold is counted by our clock from the first bundle with a new authority: nothing begins it anew, and no clock of an agent shortens it',
  async (t) => {
    t.teardown(() => database.query('DELETE FROM authority'));
    const begun = Date.now();
    const send = async (bundleSent: number, bundleSentAt: number) => {
      const record = consumer('process:1', { acknowledges: false, bundleSent, bundleSentAt });
      await store.write({ records: [record], ended: [] });
      return (await listConsumers(database))[0]?.bundleSentAt ?? 0;
    };
    const first = await send(3, begun + HOUR_MS);
    t.true(Math.abs(first - begun) < HOUR_MS / 2);
    t.is(await send(3, begun + HOUR_MS), first);
    t.is(await send(4, begun), first);
    await database.query(
      "INSERT INTO trust_bundle (sequence, root_ids, x509_authorities) VALUES (6, '{}', '{}')",
    );
    await database.query(
      `INSERT INTO authority (id, kind, state, parent_id, key_algorithm, public_key, not_before, not_after, published_sequence)
       VALUES ('jwt-6', 'jwt', 'published', 'jwt-6', 'ec-p256', '', now(), now(), 6)`,
    );
    t.is(await send(5, begun), first);
    const later = await send(7, begun - HOUR_MS);
    t.true(later > first);
    t.is(await send(8, begun), later);
    t.true((await send(2, begun)) > later);
  },
);

test.serial('a thousand instances are one statement', async (t) => {
  const records = Array.from({ length: 1000 }, (_, i) => consumer(`process:${i}`));
  await store.write({ records, ended: [] });
  t.is((await store.load()).records.length, 1000);
});

test.serial('what is gone is not loaded, and what says nothing any more is removed', async (t) => {
  const past = Date.now() - 1000;
  await store.write({
    records: [
      consumer('process:1', { gone: true }),
      consumer('process:2', { keepUntil: past }),
      consumer('process:3'),
    ],
    ended: [],
  });
  t.is((await store.load()).records.length, 2);
  await pruneConsumers(database);
  t.deepEqual(
    (await listConsumers(database)).map(({ instance }) => instance),
    ['process:1', 'process:3'],
  );
});

test.serial('an agent learns what was issued after its last report', async (t) => {
  const late = issued('unreported-1', 'process:late');
  await store.write({ records: [consumer('process:late'), consumer('process:known')], ended: [] });
  await insertIssuances(database, [late, issued('unreported-1', 'process:new')]);
  // What earlier tests issued is among it once it is older than a report takes.
  const { unreported } = await store.load();
  t.deepEqual(
    unreported.filter(({ authority }) => authority === 'unreported-1'),
    [
      {
        instance: 'process:late',
        identity: late.identity,
        serial: late.serial,
        authority: 'unreported-1',
        until: late.notAfter.getTime(),
      },
    ],
  );
  t.deepEqual((await other.load()).unreported, []);
});

test.serial(
  'what another node says of an instance neither hides what it was issued, nor tells it',
  async (t) => {
    const foreign = new PostgresFleetStore(database, 'node-2', '/run/a.sock');
    const [known, unknown] = [
      issued('foreign-1', 'process:foreign-1'),
      issued('foreign-1', 'process:foreign-2'),
    ];
    await store.write({ records: [consumer('process:foreign-1')], ended: [] });
    for (const instance of ['process:foreign-1', 'process:foreign-2'])
      await foreign.write({ records: [consumer(instance)], ended: [] });
    await insertIssuances(database, [known, unknown]);
    const mine = async (): Promise<string[]> =>
      (await store.load()).unreported.map(({ serial }) => serial).filter((one) => one === unknown.serial);
    t.deepEqual((await foreign.load()).unreported, []);
    await until('it is older than a report takes', async () => (await mine()).length === 1);
  },
);

for (const [claim, limits] of [
  ['instances', { records: 2, heldBytes: 1e9 }],
  ['bytes', { records: 1000, heldBytes: 1000 }],
] as const)
  test.serial(
    `of one node so many ${claim} are kept, and what is there can be changed and ended`,
    async (t) => {
      const bounded = new PostgresFleetStore(database, 'node-3', '/run/a.sock', limits);
      const held = {
        ...consumer('').held,
        x: Array.from({ length: 200 }, (_, i) => `random ${Math.random()} ${i}`),
      };
      const [first, second] = [consumer('process:1', { held }), consumer('process:2')];
      await bounded.write({ records: [first, second], ended: [] });
      await bounded.write({ records: [consumer('process:1', { held, streams: 2 })], ended: [] });
      const again = new PostgresFleetStore(database, 'node-3', '/run/b.sock', limits);
      await t.throwsAsync(again.write({ records: [consumer('process:3')], ended: [] }), {
        code: 'too_large',
      });
      await bounded.write({ records: [], ended: ['process:1'] });
      await t.notThrowsAsync(again.write({ records: [consumer('process:3')], ended: [] }));
      t.deepEqual(
        (await listConsumers(database, 'node-3')).map(({ instance }) => instance),
        ['process:2', 'process:3'],
      );
    },
  );

const OUTSTANDING: [
  what: string,
  stored: (instance: string, authority: string) => ConsumerRecord[],
  count: number,
][] = [
  ['its instance is not known', () => [], 1],
  [
    'its instance may present it',
    (instance, authority) => [consumer(instance, { authorities: [authority] })],
    1,
  ],
  ['its instance holds others', (instance) => [consumer(instance, { authorities: ['another'] })], 0],
  ['its instance is gone', (instance) => [consumer(instance, { gone: true })], 0],
];
for (const [what, stored, count] of OUTSTANDING)
  test.serial(`a certificate ${count === 0 ? 'does not count' : 'counts'} where ${what}`, async (t) => {
    const [authority, instance] = [`authority ${what}`, `process:${what}`];
    const one = issued(authority, instance);
    await insertIssuances(database, [one]);
    await store.write({ records: stored(instance, authority), ended: [] });
    t.deepEqual(await outstandingOf(database, [authority]), {
      count,
      until: count === 0 ? null : one.notAfter.getTime(),
    });
  });

test.serial("an agent's own certificate counts, though its row as a consumer names none", async (t) => {
  const one = { ...issued('agents', 'agent:node-1'), profile: 'agent' };
  await insertIssuances(database, [one]);
  await store.write({ records: [consumer('agent:node-1', { authorities: [] })], ended: [] });
  t.is((await outstandingOf(database, ['agents'])).count, 1);
});

test.serial('a certificate that was issued after its instance was last stored counts', async (t) => {
  await store.write({ records: [consumer('process:after')], ended: [] });
  await insertIssuances(database, [issued('after', 'process:after')]);
  t.is((await outstandingOf(database, ['after'])).count, 1);
  await store.write({ records: [consumer('process:after')], ended: [] });
  t.is((await outstandingOf(database, ['after'])).count, 0);
});

test.serial(
  "an agent's certificate counts until it has shown that it has the next, and so does one that is just being granted",
  async (t) => {
    const certificate = async (authority: string): Promise<string> => {
      const one = { ...issued(authority, 'agent:far'), profile: 'agent', node: 'far' };
      await insertIssuances(database, [one]);
      return one.serial;
    };
    const counts = async () => {
      const counted = ['first', 'old', 'new'].map((authority) => outstandingOf(database, [authority]));
      return (await Promise.all(counted)).map(({ count }) => count);
    };
    const presented = async () =>
      (await agentPresenters(database)).map(({ authorities, streams }) => [
        streams,
        ...authorities.toSorted(),
      ]);
    const age = () => database.query("UPDATE issuance SET recorded_at = now() - interval '1 minute'");
    await database.query('ALTER TABLE issuance DISABLE TRIGGER ALL');
    t.teardown(() => database.query('ALTER TABLE issuance ENABLE TRIGGER ALL'));
    const [first, old, fresh] = [
      await certificate('first'),
      await certificate('old'),
      await certificate('new'),
    ];
    t.deepEqual(await counts(), [1, 1, 1]);
    await age();
    t.deepEqual(await counts(), [0, 0, 0], 'none of them lets anybody in');
    await database.query(
      `INSERT INTO agent (node, method, selectors, evidence, attestation, attested_serial, serial, previous_serial, expires_at)
       VALUES ('far', 'join_token', '{}', '{}', 1, decode($1, 'hex'), decode($3, 'hex'), decode($2, 'hex'), now())`,
      [first, old, fresh],
    );
    t.deepEqual(await counts(), [0, 1, 1], 'it may not have got the last one');
    t.deepEqual(await presented(), [[0, 'new', 'old']]);
    await database.query('UPDATE agent SET seen_at = now(), last_seen_at = now()');
    t.deepEqual(await counts(), [0, 0, 1]);
    t.deepEqual(await presented(), [[1, 'new']], 'whom a rotation waits for, also after a compromise');
    await database.query("UPDATE agent SET banned_at = now(), banned_by = 'x', ban_reason = 'x'");
    t.deepEqual(await counts(), [0, 0, 0]);
    t.deepEqual(await presented(), []);
  },
);

test.serial('an instance that two agents know holds what either says', async (t) => {
  await insertIssuances(database, [issued('two', 'process:two')]);
  await store.write({ records: [consumer('process:two', { authorities: ['two'] })], ended: [] });
  await other.write({ records: [consumer('process:two')], ended: [] });
  t.is((await outstandingOf(database, ['two'])).count, 1);
});

function issued(authority: string, instance: string) {
  const now = Date.now();
  return issuance({ authority, instance, notBefore: new Date(now), notAfter: new Date(now + HOUR_MS) });
}

test.serial(
  'a look at the whole fleet counts those that are behind, of all that are waited for',
  async (t) => {
    const latest = 1000;
    await database.query(
      "INSERT INTO trust_bundle (sequence, root_ids, x509_authorities) VALUES ($1, '{}', '{}')",
      [latest],
    );
    const has = { bundleSent: latest, bundleAcknowledged: latest };
    const away = { streams: 0, holdsUntil: Date.now() + HOUR_MS };
    const records = [
      consumer('process:has', has),
      consumer('process:behind', { ...has, bundleAcknowledged: latest - 1 }),
      consumer('process:refuses', { ...has, bundleAcknowledged: null, problem: 'no' }),
      consumer('process:was-sent', { acknowledges: false, bundleSent: latest }),
      consumer('process:was-not-sent', { acknowledges: false, bundleSent: latest - 1 }),
      consumer('process:away', { ...has, ...away }),
      consumer('process:away-behind', { ...away, bundleSent: 1 }),
      consumer('process:ended', { ...has, ...away, holdsUntil: Date.now() - HOUR_MS }),
      consumer('process:gone', { ...has, gone: true }),
      consumer('process:others-trust', {}),
    ];
    await store.write({ records, ended: [] });
    t.deepEqual(await summarizeFleet(database), {
      bundleSequence: latest,
      connected: 5,
      away: 2,
      behind: 3,
      refusing: 1,
    });
  },
);

function consumer(instance: string, fields: Partial<ConsumerRecord> = {}): ConsumerRecord {
  return {
    instance,
    names: [],
    identities: [],
    streams: 1,
    gone: false,
    acknowledges: true,
    bundleSent: null,
    bundleSentAt: null,
    bundleAcknowledged: null,
    bundleObserved: null,
    observesUntil: null,
    authorities: [],
    holdsUntil: null,
    problem: null,
    keepUntil: Date.now() + HOUR_MS,
    held: {
      open: [],
      left: [{ slot: { node: 'web', name: 'a', certificates: [], bundle: null }, until: 1 }],
      lasting: [],
      own: [],
      unconfirmed: null,
    },
    ...fields,
  };
}
