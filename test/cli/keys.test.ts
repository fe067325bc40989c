import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { createRoot } from '../../src/ca/create-authority.ts';
import { createKeyEncryptionKey, readKeyEncryptionKey } from '../../src/ca/key-encryption-key.ts';
import { openAuthority } from '../../src/ca/open-authority.ts';
import { sealedKeyStore } from '../../src/ca/sealed-key-store.ts';
import { keysCommand } from '../../src/cli/keys.ts';
import { PostgresAuthorityStore } from '../../src/db/authorities.ts';
import { authorityRequest } from '../ca/authorities.ts';
import { openDatabase } from '../db/fixtures.ts';
import { createDatabase } from '../support/database.ts';
import { runCommand } from './harness.ts';

/** A database with one root, whose key is sealed under the key in the data directory. */
async function sealedRoot(t: ExecutionContext) {
  const dataDir = mkdtempSync(join(tmpdir(), 'carnet-keys-'));
  const created = await createDatabase();
  const database = openDatabase(created.url);
  t.teardown(async () => {
    await database.close();
    await created.drop();
    rmSync(dataDir, { recursive: true });
  });
  const kek = await createKeyEncryptionKey(join(dataDir, 'key-encryption-key'));
  const { stored } = await createRoot(authorityRequest(), sealedKeyStore(kek));
  const store = new PostgresAuthorityStore(database);
  await store.transact((tx) => tx.insert(stored));
  const rewrap = (...args: string[]) =>
    runCommand(keysCommand, ['rewrap', '--data-dir', dataDir, '--database-url', created.url, ...args]);
  return { dataDir, store, kek, rewrap };
}

test('rewrap seals the keys under the key in a new file, which it makes, and says what comes next', async (t) => {
  const { dataDir, store, rewrap } = await sealedRoot(t);
  const file = join(dataDir, 'second');
  const { code, stdout, stderr } = await rewrap('--new-key-encryption-key-file', file);
  t.is(code, 0, stderr);
  t.is(statSync(file).mode & 0o777, 0o600);
  const kek = await readKeyEncryptionKey(file);
  t.is(stdout, `1 sealed under ${kek.id}\n`);
  t.true(stderr.includes(`--key-encryption-key-file ${file}`));
  const [stored] = await store.list();
  if (stored === undefined) return t.fail();
  t.notThrows(() => openAuthority(stored, sealedKeyStore(kek)));

  // Whoever forgot the note finds the present key wrong, and is told which one is right.
  const again = await rewrap('--new-key-encryption-key-file', file, '--json');
  t.deepEqual(JSON.parse(again.stdout), { key_encryption_key: kek.id, rewrapped: [], before: [stored.id] });
});

test('rewrap without a new key, or with the present one, changes nothing', async (t) => {
  const { dataDir, store, kek, rewrap } = await sealedRoot(t);
  t.is((await rewrap()).code, 2);
  const same = await rewrap('--new-key-encryption-key-file', join(dataDir, 'key-encryption-key'));
  t.is(same.code, 1);
  t.true(same.stderr.includes(kek.id));
  const [stored] = await store.list();
  if (stored === undefined) return t.fail();
  t.notThrows(() => openAuthority(stored, sealedKeyStore(kek)));
});

test('rewrap makes no key in place of a present one that is missing', async (t) => {
  const { dataDir, rewrap } = await sealedRoot(t);
  const missing = join(dataDir, 'missing');
  const { code, stderr } = await rewrap(
    '--key-encryption-key-file',
    missing,
    '--new-key-encryption-key-file',
    join(dataDir, 'second'),
  );
  t.is(code, 1);
  t.true(stderr.includes(`there is no key-encryption key at ${missing}`));
});
