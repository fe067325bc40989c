import test from 'ava';
import { BatchRecorder, RECORDER_LIMITS } from '../../src/audit/record.ts';
import type { NewAuthority } from '../../src/ca/authority-store.ts';
import { PostgresAuthorityStore } from '../../src/db/authorities.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { findCrl, insertDenial, listDenials, listDenialsInForce } from '../../src/db/revocations.ts';
import { type ErrorCode, errorCodeOf } from '../../src/errors.ts';
import { createDatabase } from '../support/database.ts';
import { issuance, openDatabase } from './fixtures.ts';

const created = await createDatabase();
const database = openDatabase(created.url, { maxConnections: 8 });
const store = new PostgresAuthorityStore(database);
const HOUR_MS = 3_600_000;
const ISSUING = 'issuing-0a1b2c3d';
const BEARER = { identity: null, instance: null, node: null };

test.before(() =>
  store.transact(async (tx) => {
    await tx.insert(authority('root-0a1b2c3d', 'root-0a1b2c3d'));
    await tx.insert(authority(ISSUING, 'root-0a1b2c3d'));
  }),
);
test.after.always(async () => {
  await database.close();
  await created.drop();
});

for (const [what, bearer, fitting] of [
  [
    'an identity',
    { identity: 'spiffe://carnet.local/t-identity' },
    { identity: 'spiffe://carnet.local/t-identity' },
  ],
  ['an instance', { instance: 'container:t-instance' }, { instance: 'container:t-instance' }],
  ['a node', { node: 't-node' }, { node: 't-node' }],
  [
    'an identity at an instance',
    { identity: 'spiffe://carnet.local/t-both', instance: 'container:t-both' },
    { identity: 'spiffe://carnet.local/t-both', instance: 'container:t-both' },
  ],
] as const)
  test.serial(
    `a denial of ${what} revokes what fits and is valid, once, and refuses more of it until it is lifted`,
    async (t) => {
      const [one, two, ended] = [valid(fitting), valid(fitting), issuance({ ...fitting })];
      const others = [
        valid(),
        valid({ identity: 'spiffe://carnet.local/t-both' }),
        valid({ instance: 'container:t-both' }),
      ];
      await insertIssuances(database, [one, two, ended, ...others]);
      const id = await deny(bearer);
      t.deepEqual(await revokedBy(id), [one.serial, two.serial].sort());
      t.is(await recorded(valid(fitting)), 'permission_denied');
      t.is(await recorded(valid()), 'recorded');
      await store.transact(async (tx) => t.deepEqual(await tx.revokeMatching(id, 'unspecified'), []));
      await store.transact((tx) => tx.liftDenial(id));
      t.is(await recorded(valid(fitting)), 'recorded');
      t.deepEqual(await revokedBy(id), [one.serial, two.serial].sort());
      await t.throwsAsync(
        store.transact((tx) => tx.liftDenial(id)),
        { code: 'not_found' },
      );
    },
  );

test.serial('of a batch only what is denied is refused', async (t) => {
  const bad = valid({ instance: 'container:batch' });
  await deny({ instance: 'container:batch' });
  const recorder = new BatchRecorder(
    (batch) => insertIssuances(database, batch),
    RECORDER_LIMITS,
    () => performance.now(),
  );
  const results = await Promise.allSettled(
    [valid(), valid(), bad, valid(), bad, valid()].map((one) => recorder.record(one)),
  );
  t.deepEqual(
    results.map((one) => (one.status === 'fulfilled' ? 'recorded' : errorCodeOf(one.reason))),
    ['recorded', 'recorded', 'permission_denied', 'recorded', 'permission_denied', 'recorded'],
  );
});

test.serial(
  'issuances that race with a denial are revoked or refused: in 100 tries none slips through',
  async (t) => {
    const slipped: string[] = [];
    let [revoked, refused] = [0, 0];
    for (let i = 0; i < 100; i++) {
      const instance = `container:race-${i}`;
      const racers = Array.from({ length: 12 }, () => valid({ instance }));
      const [id, ...outcomes] = await Promise.all([
        deny({ instance }, (i % 10) * 2),
        ...racers.map(async (racer, n) => {
          await new Promise((resolve) => setTimeout(resolve, n * 2));
          return recorded(racer);
        }),
      ]);
      const named = new Set(await revokedBy(id));
      for (const [n, outcome] of outcomes.entries()) {
        const serial = racers[n]?.serial ?? '';
        if (outcome === 'recorded' && !named.has(serial)) slipped.push(`${i}: ${serial}`);
        if (outcome === 'recorded') revoked++;
        else refused++;
      }
    }
    t.log(`${revoked} were recorded before and revoked, ${refused} came after and were refused`);
    t.deepEqual(slipped, []);
    t.true(revoked > 50 && refused > 50);
  },
);

test.serial('a CRL names what is revoked and has not ended', async (t) => {
  const [one, ended] = [valid({ instance: 'container:crl' }), valid({ instance: 'container:crl' })];
  await insertIssuances(database, [one, { ...ended, notAfter: new Date(Date.now() - 1000) }]);
  await deny({ instance: 'container:crl' });
  const entries = await store.transact((tx) => tx.revoked(ISSUING));
  t.like(
    entries.find(({ serial }) => serial === one.serial),
    { reason: 'keyCompromise' },
  );
  t.false(entries.some(({ serial }) => serial === ended.serial));
  t.is(await findCrl(database, 'issuing-none'), undefined);
});

test.serial('every denial is listed, with whether it is lifted', async (t) => {
  const id = await deny({ node: 'listed' });
  t.like(
    (await listDenials(database)).find((one) => one.id === id),
    { identity: null, instance: null, node: 'listed', actor: 'operator:test', liftedAt: null },
  );
  const inForce = async () => (await listDenialsInForce(database)).some((one) => one.id === id);
  t.true(await inForce());
  await store.transact((tx) => tx.liftDenial(id));
  t.false(await inForce());
  t.truthy((await listDenials(database)).find((one) => one.id === id)?.liftedAt);
});

test.serial('so many denials may be in force, and one that is lifted makes room', async (t) => {
  const inForce = (await listDenialsInForce(database)).length;
  const insert = () =>
    database.transact((tx) =>
      insertDenial(tx, { ...BEARER, node: 'many', reason: 'test', actor: 'operator:test' }, inForce + 1),
    );
  const id = await insert();
  await t.throwsAsync(insert(), { code: 'conflict' });
  await store.transact((tx) => tx.liftDenial(id));
  await t.notThrowsAsync(insert());
});

function valid(fields: Partial<ReturnType<typeof issuance>> = {}) {
  return issuance({ notBefore: new Date(), notAfter: new Date(Date.now() + HOUR_MS), ...fields });
}

async function deny(bearer: Partial<Record<keyof typeof BEARER, string>>, afterMs = 0): Promise<number> {
  if (afterMs > 0) await new Promise((resolve) => setTimeout(resolve, afterMs));
  return store.transact(async (tx) => {
    const id = await tx.insertDenial({ ...BEARER, ...bearer, reason: 'test', actor: 'operator:test' });
    await tx.revokeMatching(id, 'keyCompromise');
    return id;
  });
}

/** As one replica records it: on a connection of its own, told of no denial. */
function recorded(given: ReturnType<typeof issuance>): Promise<'recorded' | ErrorCode> {
  return insertIssuances(database, [given]).then(
    () => 'recorded' as const,
    (error: unknown) => errorCodeOf(error),
  );
}

async function revokedBy(denialId: number): Promise<string[]> {
  const rows = await database.query<{ serial: string }>(
    "SELECT encode(serial, 'hex') AS serial FROM revocation WHERE denial_id = $1 ORDER BY serial",
    [denialId],
  );
  return rows.map(({ serial }) => serial);
}

function authority(id: string, parentId: string): NewAuthority {
  return {
    id,
    kind: id === parentId ? 'root' : 'issuing',
    state: 'active',
    parentId,
    certificate: Buffer.from(id),
    notBefore: new Date('2026-01-01T00:00:00Z'),
    notAfter: new Date('2036-01-01T00:00:00Z'),
    keyAlgorithm: 'ec-p256',
    sealedKey: Buffer.from(id),
    keyReference: null,
    crossCertificate: null,
    intermediates: [],
  };
}
