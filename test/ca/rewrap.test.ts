import { randomBytes } from 'node:crypto';
import test from 'ava';
import type { StoredLogKey } from '../../src/audit/log-store.ts';
import { sequence } from '../../src/audit/sequence.ts';
import { createIssuing, createRoot } from '../../src/ca/create-authority.ts';
import { parseKeyEncryptionKey } from '../../src/ca/key-encryption-key.ts';
import { openAuthority } from '../../src/ca/open-authority.ts';
import { rewrapKeys } from '../../src/ca/rewrap.ts';
import { unsealKey } from '../../src/ca/seal.ts';
import { sealedKeyStore } from '../../src/ca/sealed-key-store.ts';
import { createUpstreamRequest } from '../../src/ca/upstream-request.ts';
import { PostgresAuthorityStore } from '../../src/db/authorities.ts';
import { PostgresLog } from '../../src/db/log.ts';
import { listEvents } from '../../src/db/operator-events.ts';
import { openDatabase } from '../db/fixtures.ts';
import { createDatabase } from '../support/database.ts';
import { until } from '../support/until.ts';
import { authorityRequest, createAuthorities, KEK } from './authorities.ts';

const NEW_KEK = parseKeyEncryptionKey(randomBytes(32).toString('hex'));

/** A root and an issuing CA under it, stored; and a third authority, whose key is destroyed. */
async function storeWithAuthorities() {
  const created = await createDatabase();
  const database = openDatabase(created.url);
  const store = new PostgresAuthorityStore(database);
  const { root, issuing } = await createAuthorities('ec-p256');
  const destroyed = await createRoot(authorityRequest(), sealedKeyStore(KEK));
  await store.transact(async (tx) => {
    for (const { stored } of [root, issuing, destroyed]) await tx.insert(stored);
    await tx.destroyKey(destroyed.stored.id);
  });
  const close = async () => {
    await database.close();
    await created.drop();
  };
  return { store, database, root, issuing, close };
}

test('every sealed key opens under the new key-encryption key, and under no other, and it is on record', async (t) => {
  const { store, database, root, issuing, close } = await storeWithAuthorities();
  const { rewrapped, before } = await rewrapKeys(store, KEK, NEW_KEK, 'local:uid-0');
  t.deepEqual([...rewrapped].sort(), [root.stored.id, issuing.stored.id].sort());
  t.deepEqual(before, []);
  for (const stored of await store.list()) {
    if (stored.sealedKey === null) continue;
    const opened = openAuthority(stored, sealedKeyStore(NEW_KEK));
    if (stored.kind === 'root')
      await t.notThrowsAsync(createIssuing(opened, authorityRequest(), sealedKeyStore(NEW_KEK)));
    t.like(
      t.throws(() => openAuthority(stored, sealedKeyStore(KEK))),
      { code: 'key_unseal_failed' },
    );
  }
  const { items } = await listEvents(database, { limit: 10, cursor: null });
  t.deepEqual(items.map(({ subject }) => subject).sort(), [...rewrapped].sort());
  for (const event of items)
    t.like(event, {
      actor: 'local:uid-0',
      action: 'authority.rewrap',
      before: { key_encryption_key: KEK.id },
      after: { key_encryption_key: NEW_KEK.id },
    });
  await close();
});

test('the key of a request to an outside CA is sealed anew with the others', async (t) => {
  const { store, close } = await storeWithAuthorities();
  const request = await createUpstreamRequest(authorityRequest().trustDomain, 'ec-p256', sealedKeyStore(KEK));
  await store.transact((tx) => tx.replaceUpstreamRequest(request));
  t.true((await rewrapKeys(store, KEK, NEW_KEK, 'local:uid-0')).rewrapped.includes(request.id));
  const stored = await store.transact((tx) => tx.upstreamRequest());
  t.like(stored, { id: request.id, keyAlgorithm: 'ec-p256', keyReference: null });
  t.deepEqual(stored?.csr, Buffer.from(request.csr));
  t.notThrows(() => unsealKey(NEW_KEK, request.id, stored?.sealedKey ?? new Uint8Array()));
  await store.transact((tx) => tx.replaceUpstreamRequest(null));
  t.is(await store.transact((tx) => tx.upstreamRequest()), null);
  await close();
});

test('run again, it changes nothing', async (t) => {
  const { store, close } = await storeWithAuthorities();
  await rewrapKeys(store, KEK, NEW_KEK, 'local:uid-0');
  const stored = await store.list();
  const again = await rewrapKeys(store, KEK, NEW_KEK, 'local:uid-0');
  t.like(again, { rewrapped: [] });
  t.is(again.before.length, 2);
  t.deepEqual(await store.list(), stored);
  await close();
});

test('one key that does not open, and none is changed', async (t) => {
  const { store, issuing, close } = await storeWithAuthorities();
  await store.transact((tx) => tx.reseal(issuing.stored.id, randomBytes(100)));
  const stored = await store.list();
  t.like(await t.throwsAsync(rewrapKeys(store, KEK, NEW_KEK, 'local:uid-0')), { code: 'key_unseal_failed' });
  t.deepEqual(await store.list(), stored);
  await close();
});

test('with another key than the present one nothing is changed', async (t) => {
  const { store, close } = await storeWithAuthorities();
  const other = parseKeyEncryptionKey(randomBytes(32).toString('hex'));
  const stored = await store.list();
  t.like(await t.throwsAsync(rewrapKeys(store, other, NEW_KEK, 'local:uid-0')), {
    code: 'key_unseal_failed',
  });
  t.deepEqual(await store.list(), stored);
  await close();
});

test("the key of the log is sealed anew with the others, and signs the log's next checkpoint", async (t) => {
  const { store, close, database } = await storeWithAuthorities();
  const log = new PostgresLog(database);
  const sequencing = (kek: typeof KEK) => {
    const keys = sealedKeyStore(kek);
    return {
      store: log,
      newKeys: keys,
      open: (key: StoredLogKey) => keys.open(key),
      origin: 'carnet.test/log',
    };
  };
  await until('the log has begun', async () => (await sequence(sequencing(KEK), null, 10)) !== null);
  const id = (await log.key())?.id ?? '';
  t.true((await rewrapKeys(store, KEK, NEW_KEK, 'local:uid-0')).rewrapped.includes(id));
  const { length } = await database.query('SELECT FROM operator_event');
  await until('the log has all events', async () => {
    const turn = await sequence(sequencing(NEW_KEK), null, 1000);
    return turn?.head?.size === length;
  });
  t.pass();
  await close();
});
