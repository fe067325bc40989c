import { randomBytes } from 'node:crypto';
import test from 'ava';
import { federatedConsumers, noteBundleServed } from '../../src/db/bundle-served.ts';
import { PostgresFederationStore } from '../../src/db/federations.ts';
import { Listener } from '../../src/db/listen.ts';
import { migrate } from '../../src/db/migrate.ts';
import { listEvents } from '../../src/db/operator-events.ts';
import type { AcceptedBundle, NewFederation } from '../../src/federation/federation.ts';
import { parseSpiffeId, parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { administer, createDatabase, urlOf } from '../support/database.ts';
import { log, openDatabase } from './fixtures.ts';

/** As a running server, with a role that doesn't own the tables. */
const created = await createDatabase('empty');
const role = `runtime_${randomBytes(6).toString('hex')}`;
await administer(`CREATE ROLE ${role} LOGIN`);
const runtimeUrl = urlOf(new URL(created.url).pathname.slice(1), role);
await migrate({ url: runtimeUrl, ownerUrl: created.url, log });
const database = openDatabase(runtimeUrl);
/** Two replicas. */
const [store, other] = [new PostgresFederationStore(database), new PostgresFederationStore(database)];
test.after.always(async () => {
  await database.close();
  await created.drop();
  await administer(`DROP ROLE ${role}`);
});

const FAR = 1_000_000;

test('what is stored reads back, and each change is on record with who made it and what it is', async (t) => {
  const made = federation('record.test', { bundle: bundle(1n) });
  const first = await store.create(made, 'operator:ann');
  t.like(first, { trustDomain: made.trustDomain, endpoint: made.endpoint, failures: 0, problem: null });
  t.like(first.bundle, bundle(1n));
  const second = await store.setBundle(made.trustDomain, bundle(2n ** 70n), 'operator:bob');
  t.like(second.bundle, bundle(2n ** 70n));
  t.true((second.bundle?.revision ?? 0) > (first.bundle?.revision ?? 0));
  t.deepEqual(await store.setBundle(made.trustDomain, bundle(2n ** 70n), 'operator:bob'), second);
  t.deepEqual(await store.delete(made.trustDomain, 'operator:cat'), second);
  await t.throwsAsync(store.delete(made.trustDomain, 'operator:cat'), { code: 'not_found' });
  const { items } = await listEvents(database, { limit: 100, cursor: null });
  t.deepEqual(
    items
      .filter(({ subject }) => subject === made.trustDomain)
      .map(({ actor, action, before, after }) => [actor, action, before?.sha256, after?.sha256]),
    [
      ['operator:cat', 'federation.delete', bundle(2n ** 70n).sha256, undefined],
      ['operator:bob', 'federation.bundle', bundle(1n).sha256, bundle(2n ** 70n).sha256],
      ['operator:ann', 'federation.bundle', undefined, bundle(1n).sha256],
      ['operator:ann', 'federation.create', undefined, undefined],
    ],
  );
});

test('a revision never comes twice, also over a deletion', async (t) => {
  const made = federation('again.test', { bundle: bundle(1n) });
  const before = await store.create(made, 'operator:ann');
  await t.throwsAsync(store.create(made, 'operator:ann'), { code: 'already_exists' });
  await store.delete(made.trustDomain, 'operator:ann');
  const after = await store.create(made, 'operator:ann');
  t.true((after.bundle?.revision ?? 0) > (before.bundle?.revision ?? 0));
});

test.serial('of two replicas one asks an endpoint, and when it is due only', async (t) => {
  const { trustDomain } = await store.create(federation('due.test'), 'operator:ann');
  const claims = await Promise.all([store, other, store, other].map((one) => one.claimDue(60)));
  const [claim, ...more] = claims.filter((one) => one !== null);
  t.deepEqual([claim?.federation.trustDomain, more], [trustDomain, []]);
  await t.throwsAsync(other.claim(trustDomain, 60), { code: 'conflict' });
  if (claim === undefined) return t.fail();
  const after = await store.succeed(
    claim,
    () => bundle(1n),
    () => FAR,
    'schedule:federation',
  );
  t.like(after, { bundle: bundle(1n), failures: 0 });
  t.true((after?.nextRefreshAt?.getTime() ?? 0) > Date.now() + (FAR - 100) * 1000);
  t.is(await other.claimDue(60), null);
});

test.serial(
  'a replica that dies while it fetches is followed by another, and changes nothing if it lives',
  async (t) => {
    const { trustDomain } = await store.create(federation('lease.test'), 'operator:ann');
    const lost = await store.claim(trustDomain, 0);
    const taken = await other.claim(trustDomain, 60);
    t.is(
      await store.succeed(
        lost,
        () => bundle(5n),
        () => FAR,
        'schedule:federation',
      ),
      null,
    );
    await store.fail(lost, 'too late', FAR);
    t.like(
      await other.succeed(
        taken,
        () => bundle(1n),
        () => FAR,
        'schedule:federation',
      ),
      {
        bundle: bundle(1n),
        problem: null,
      },
    );
  },
);

test.serial('a failure is kept with its words, and what is trusted stays', async (t) => {
  const { trustDomain } = await store.create(
    federation('fails.test', { bundle: bundle(1n) }),
    'operator:ann',
  );
  await store.fail(await store.claim(trustDomain, 60), 'it is down', FAR);
  const refusal = new Error('refused');
  const claim = await store.claim(trustDomain, 60);
  const refused = store.succeed(
    claim,
    () => {
      throw refusal;
    },
    () => FAR,
    'schedule:federation',
  );
  await t.throwsAsync(refused, { is: refusal });
  const found = (await store.list()).find((one) => one.trustDomain === trustDomain);
  t.like(found, { failures: 1, problem: 'it is down', checkedAt: null, bundle: bundle(1n) });
});

test.serial('one without an endpoint is never due, and cannot be fetched', async (t) => {
  const { trustDomain } = await store.create(federation('hand.test', { endpoint: null }), 'operator:ann');
  t.is(await store.claimDue(60), null);
  await t.throwsAsync(store.claim(trustDomain, 60), { code: 'conflict' });
});

test.serial('each change wakes every replica', async (t) => {
  let wake = Promise.withResolvers<void>();
  const listener = new Listener({
    url: runtimeUrl,
    log,
    random: () => 0,
    // Only by its notice.
    catchUpMs: 3_600_000,
    wake: (topic) => {
      if (topic === 'federation') wake.resolve();
    },
  });
  t.teardown(() => listener.close());
  await wake.promise;
  const made = federation('woken.test', { endpoint: null, bundle: bundle(1n) });
  for (const change of [
    () => store.create(made, 'operator:ann'),
    () => store.setBundle(made.trustDomain, bundle(2n), 'operator:ann'),
    () => store.delete(made.trustDomain, 'operator:ann'),
  ]) {
    wake = Promise.withResolvers();
    await change();
    await wake.promise;
    t.pass();
  }
});

test('that our bundle was fetched may be noted, time and again', async (t) => {
  for (const hint of [60, 300]) await noteBundleServed(database, hint);
  t.deepEqual(await federatedConsumers(database), [], 'there is no root yet');
});

function federation(name: string, fields: Partial<NewFederation> = {}): NewFederation {
  const trustDomain = parseTrustDomain(name);
  const spiffeId = parseSpiffeId(`spiffe://${name}/carnet/server`);
  return {
    trustDomain,
    endpoint: { profile: 'https_spiffe', url: `https://${name}/`, spiffeId },
    bundle: null,
    ...fields,
  };
}

function bundle(sequence: bigint): AcceptedBundle {
  const sha256 = sequence.toString(16).padStart(64, '0');
  return {
    sequence,
    refreshHintSeconds: 60,
    document: `{"keys": [], "spiffe_sequence": ${sequence}}`,
    sha256,
  };
}
