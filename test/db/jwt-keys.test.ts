import { randomBytes } from 'node:crypto';
import test from 'ava';
import { createJwtKey, type NewJwtKey } from '../../src/ca/jwt-key.ts';
import { sealedKeyStore } from '../../src/ca/sealed-key-store.ts';
import { PostgresAuthorityStore } from '../../src/db/authorities.ts';
import { PostgresFleetStore } from '../../src/db/consumers.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { KEK } from '../ca/authorities.ts';
import { createDatabase } from '../support/database.ts';
import { issuance, openDatabase } from './fixtures.ts';

const created = await createDatabase();
const database = openDatabase(created.url);
const store = new PostgresAuthorityStore(database);
const KEYS = sealedKeyStore(KEK);
const HOUR_MS = 3_600_000;

test.before(() =>
  store.transact(async (tx) => {
    const id = 'root-0a1b2c3d';
    await tx.insert({
      ...{ id, kind: 'root', state: 'active', parentId: id, keyAlgorithm: 'ec-p256' },
      ...{ sealedKey: null, keyReference: null, crossCertificate: null, intermediates: [] },
      certificate: randomBytes(500),
      notBefore: new Date(0),
      notAfter: new Date(Date.now() + HOUR_MS),
    });
    await tx.publishBundle([id], []);
  }),
);
test.after.always(async () => {
  await database.close();
  await created.drop();
});

function makeKey(): Promise<NewJwtKey> {
  return createJwtKey({ keyAlgorithm: 'ec-p256', ttlSeconds: 3600, now: Date.now() }, KEYS);
}

test.serial(
  'a key is no authority of certificates, and bundles have it from its publication to its end',
  async (t) => {
    const key = await makeKey();
    const published = async () => (await store.bundle())?.jwtAuthorities.map(({ keyId }) => keyId);
    await store.transact((tx) => tx.insertJwtKey(key));
    t.false((await store.list()).some(({ id }) => id === key.id));
    const [stored] = await store.jwtKeys();
    t.like(stored, { id: key.id, state: 'prepared', publishedSequence: null, keyAlgorithm: 'ec-p256' });
    t.deepEqual(stored?.publicKey, Buffer.from(key.publicKey));
    await store.transact((tx) => tx.republishBundle());
    t.deepEqual(await published(), []);
    const before = await store.bundle();
    const sequence = await store.transact(async (tx) => {
      await tx.setState(key.id, 'published');
      return tx.republishBundle();
    });
    t.deepEqual(await published(), [key.id]);
    t.is((await store.jwtKeys())[0]?.publishedSequence, sequence);
    t.like(await store.bundle(), { sequence, x509Sequence: before?.x509Sequence });
    await store.transact(async (tx) => {
      await tx.setState(key.id, 'retired');
      await tx.destroyKey(key.id);
      await tx.republishBundle();
    });
    t.deepEqual(await published(), []);
    t.is((await store.jwtKeys())[0]?.sealedKey, null);
  },
);

test.serial(
  'a token counts until it ends, whatever became of its workload, and nothing else does',
  async (t) => {
    const key = await makeKey();
    await store.transact((tx) => tx.insertJwtKey(key));
    const until = new Date(Date.now() + HOUR_MS);
    const token = { profile: 'jwt-svid', authority: key.id, instance: 'container:token', notAfter: until };
    await insertIssuances(database, [
      issuance(token),
      issuance({ ...token, notAfter: new Date(Date.now() - 1000) }),
      issuance({ notAfter: until }),
    ]);
    await store.transact(async (tx) => {
      t.deepEqual(await tx.outstandingTokens(key.id), { count: 1, until: until.getTime() });
      const denial = { identity: null, instance: 'container:token', node: null, reason: '', actor: 'x' };
      t.deepEqual(await tx.revokeMatching(await tx.insertDenial(denial), 'unspecified'), []);
      t.is((await tx.outstandingTokens(key.id)).count, 1);
    });
  },
);

test.serial('a retired key signs no more, in a replica that has not heard of it either', async (t) => {
  const key = await makeKey();
  await store.transact(async (tx) => {
    await tx.insertJwtKey(key);
    await tx.setState(key.id, 'retired');
  });
  await t.throwsAsync(insertIssuances(database, [issuance({ profile: 'jwt-svid', authority: key.id })]), {
    code: 'authority_unavailable',
  });
});

test.serial('an agent that comes back does not take tokens for certificates', async (t) => {
  const fleet = new PostgresFleetStore(database, 'node-tokens', '/run/agent.sock');
  const notAfter = new Date(Date.now() + HOUR_MS);
  await insertIssuances(database, [
    issuance({ profile: 'jwt-svid', node: 'node-tokens', instance: 'container:only-tokens', notAfter }),
  ]);
  await database.query('SELECT pg_sleep(1.1)');
  t.deepEqual((await fleet.load()).unreported, []);
});
