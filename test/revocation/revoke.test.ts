import test, { type ExecutionContext } from 'ava';
import { nextCrl } from '../../src/ca/crl.ts';
import { PostgresAuthorityStore } from '../../src/db/authorities.ts';
import { PostgresIssuanceQuery } from '../../src/db/issuance-query.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { listEvents } from '../../src/db/operator-events.ts';
import { listDenials } from '../../src/db/revocations.ts';
import { CarnetError } from '../../src/errors.ts';
import { liftDenial, type RevokeRequest, revoke } from '../../src/revocation/revoke.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { parseCrl } from '../../src/x509/crl.ts';
import { serialHex } from '../../src/x509/serial.ts';
import { createAuthorities, KEYS } from '../ca/authorities.ts';
import { issuance, openDatabase } from '../db/fixtures.ts';
import { createDatabase } from '../support/database.ts';

const HOUR_MS = 3_600_000;
const CLOCK = () => Date.now();

/** A database with a root and an issuing CA that signs, whose CRLs are in the bundle. */
async function startWorld(t: ExecutionContext) {
  const { url, drop } = await createDatabase();
  const database = openDatabase(url);
  t.teardown(async () => {
    await database.close();
    await drop();
  });
  const store = new PostgresAuthorityStore(database);
  const { root, issuing } = await createAuthorities('ec-p256');
  const ids = [root.stored.id, issuing.stored.id];
  await store.transact(async (tx) => {
    for (const { stored, signing } of [root, issuing]) {
      await tx.insert(stored);
      await tx.insertCrl(await nextCrl(signing, null, [], CLOCK(), 30));
      await tx.setState(stored.id, 'active');
    }
    await tx.publishBundle([root.stored.id], ids);
  });
  const options = { store, keys: KEYS, clock: CLOCK, backdateSeconds: 30 };
  const issue = async (fields: Partial<ReturnType<typeof issuance>> = {}) => {
    const life = { notBefore: new Date(), notAfter: new Date(Date.now() + HOUR_MS) };
    const one = issuance({ authority: issuing.stored.id, ...life, ...fields });
    await insertIssuances(database, [one]);
    return one;
  };
  /** The latest CRL of each, as it is in the bundle. */
  const published = async () => {
    const bundle = await store.bundle();
    const [ofRoot, ofIssuing] = (bundle?.crls ?? []).map(parseCrl);
    if (bundle === undefined || ofRoot === undefined || ofIssuing === undefined) throw new Error('no CRLs');
    return { sequence: bundle.sequence, ofRoot, ofIssuing };
  };
  return { database, store, options, root, issuing, issue, published };
}

function request(target: RevokeRequest['target'], fields: Partial<RevokeRequest> = {}): RevokeRequest {
  return {
    target,
    reasonCode: 'keyCompromise',
    reason: 'found in a log',
    force: false,
    actor: 'operator:eve',
    ...fields,
  };
}

test('what is revoked is in the next CRL of its authority, in the bundle, on record, and nothing else is', async (t) => {
  const { database, options, issue, published } = await startWorld(t);
  const [bad, good] = [
    await issue({ instance: 'container:bad' }),
    await issue({ instance: 'container:good' }),
  ];
  const before = await published();
  const revoked = await revoke(options, request({ kind: 'instance', instance: 'container:bad' }));
  const after = await published();
  t.like(revoked, { count: 1, sequence: after.sequence });
  t.true(after.sequence > before.sequence);
  t.true(after.ofIssuing.number > before.ofIssuing.number);
  t.deepEqual(after.ofIssuing.nextUpdate, before.ofIssuing.nextUpdate);
  t.deepEqual(
    after.ofIssuing.entries.map(({ serial, reason }) => [serial, reason]),
    [[bad.serial, 'keyCompromise']],
  );
  t.is(after.ofRoot.number, before.ofRoot.number);
  const query = new PostgresIssuanceQuery(database);
  t.like((await query.get(bad.serial))?.revocation, {
    reasonCode: 'keyCompromise',
    reason: 'found in a log',
    actor: 'operator:eve',
  });
  t.is((await query.get(good.serial))?.revocation, null);
  const { items } = await listEvents(database, { limit: 1, cursor: null });
  t.like(items[0], { action: 'revocation.create', actor: 'operator:eve', reason: 'found in a log' });
});

test('a serial stands for its identity at its instance', async (t) => {
  const { database, options, issue } = await startWorld(t);
  const fields = { identity: 'spiffe://carnet.local/a', instance: 'container:1' };
  const bad = await issue(fields);
  const renewed = await issue(fields);
  const [elsewhere, other] = [
    await issue({ ...fields, instance: 'container:2' }),
    await issue({ ...fields, identity: 'spiffe://carnet.local/b' }),
  ];
  t.like(await revoke(options, request({ kind: 'serial', serial: bad.serial })), { count: 2 });
  const [denial] = await listDenials(database);
  t.like(denial, { ...fields, node: null });
  const query = new PostgresIssuanceQuery(database);
  t.truthy((await query.get(renewed.serial))?.revocation);
  for (const { serial } of [elsewhere, other]) t.is((await query.get(serial))?.revocation, null);
});

test('revoking twice changes no CRL entry, and a later one keeps those before', async (t) => {
  const { options, issue, published } = await startWorld(t);
  const [one, two] = [await issue({ instance: 'container:1' }), await issue({ instance: 'container:2' })];
  await revoke(options, request({ kind: 'instance', instance: 'container:1' }));
  t.like(await revoke(options, request({ kind: 'instance', instance: 'container:1' })), { count: 0 });
  await revoke(options, request({ kind: 'instance', instance: 'container:2' }, { reasonCode: 'superseded' }));
  const { ofIssuing } = await published();
  t.deepEqual(Object.fromEntries(ofIssuing.entries.map(({ serial, reason }) => [serial, reason])), {
    [one.serial]: 'keyCompromise',
    [two.serial]: 'superseded',
  });
});

test('a lifted denial lets more be issued, and gives back nothing', async (t) => {
  const { options, issue, published } = await startWorld(t);
  await issue({ instance: 'container:1' });
  const { denialId } = await revoke(options, request({ kind: 'instance', instance: 'container:1' }));
  await t.throwsAsync(issue({ instance: 'container:1' }), { code: 'permission_denied' });
  await liftDenial(options, denialId ?? 0, 'operator:eve');
  await issue({ instance: 'container:1' });
  t.is((await published()).ofIssuing.entries.length, 1);
});

test('while a CRL cannot be signed nothing is revoked', async (t) => {
  const { database, options, issue, published } = await startWorld(t);
  await issue({ instance: 'container:1' });
  const open = () => {
    throw new CarnetError('authority_unavailable', 'the token is away');
  };
  const before = await published();
  await t.throwsAsync(
    revoke({ ...options, keys: { ...KEYS, open } }, request({ kind: 'instance', instance: 'container:1' })),
    { code: 'authority_unavailable' },
  );
  t.deepEqual(await listDenials(database), []);
  t.is((await published()).sequence, before.sequence);
});

for (const [what, target, code] of [
  ['a serial that was never issued', { kind: 'serial', serial: '00'.repeat(16) }, 'not_found'],
  ['an unknown authority', { kind: 'authority', authority: 'issuing-none' }, 'not_found'],
] as const)
  test(`${what} is refused`, async (t) => {
    const { options } = await startWorld(t);
    await t.throwsAsync(revoke(options, request(target)), { code });
  });

test('an issuing CA is revoked by its root, once it signs no more and nothing of it is presented, or by force', async (t) => {
  const { store, options, root, issuing, issue, published } = await startWorld(t);
  const target = { kind: 'authority', authority: issuing.stored.id } as const;
  await t.throwsAsync(revoke(options, request({ kind: 'authority', authority: root.stored.id })), {
    code: 'conflict',
    message: /is a root/,
  });
  await t.throwsAsync(revoke(options, request(target, { force: true })), {
    code: 'conflict',
    message: /signs now/,
  });
  await issue();
  await store.transact((tx) => tx.setState(issuing.stored.id, 'draining'));
  await t.throwsAsync(revoke(options, request(target)), { code: 'conflict', message: /1 certificates/ });
  const before = await published();
  t.like(await revoke(options, request(target, { force: true, reasonCode: 'cACompromise' })), {
    denialId: null,
    count: 1,
  });
  const { ofRoot, ofIssuing } = await published();
  t.is(ofIssuing.number, before.ofIssuing.number);
  t.deepEqual(
    ofRoot.entries.map(({ serial, reason }) => [serial, reason]),
    [[serialHex(parseCertificate(issuing.stored.certificate).serial), 'cACompromise']],
  );
});

test('an issuing CA below a root whose key is not here is revoked there', async (t) => {
  const { store, options, root, issuing } = await startWorld(t);
  await store.transact(async (tx) => {
    await tx.setState(issuing.stored.id, 'draining');
    await tx.destroyKey(root.stored.id);
  });
  await t.throwsAsync(revoke(options, request({ kind: 'authority', authority: issuing.stored.id })), {
    code: 'conflict',
    message: /revoke it there/,
  });
});
