import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import anyTest, { type TestFn } from 'ava';
import {
  createKeyEncryptionKey,
  loadKeyEncryptionKey,
  parseKeyEncryptionKey,
  readKeyEncryptionKey,
} from '../../src/ca/key-encryption-key.ts';

const test = anyTest as TestFn<{ directory: string; path: string }>;

test.beforeEach(async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'carnet-kek-'));
  t.context = { directory, path: join(directory, 'kek') };
});

test.afterEach.always((t) => rm(t.context.directory, { recursive: true, force: true }));

test('hex and base64 of the same key are the same key', (t) => {
  const bytes = randomBytes(32);
  const { id, key } = parseKeyEncryptionKey(bytes.toString('hex'));
  t.regex(id, /^[0-9a-f]{16}$/);
  t.false(bytes.toString('hex').includes(id));
  for (const text of [
    bytes.toString('hex').toUpperCase(),
    bytes.toString('base64'),
    ` ${bytes.toString('base64')}\n`,
  ]) {
    t.is(parseKeyEncryptionKey(text).id, id);
    t.true(parseKeyEncryptionKey(text).key.equals(key));
  }
});

const MALFORMED: readonly [string, string][] = [
  ['nothing', ''],
  ['31 bytes in hex', 'ab'.repeat(31)],
  ['33 bytes in hex', 'ab'.repeat(33)],
  ['31 bytes in base64', Buffer.alloc(31).toString('base64')],
  ['33 bytes in base64', Buffer.alloc(33).toString('base64')],
  ['base64 without its padding', Buffer.alloc(32).toString('base64').slice(0, -1)],
  ['64 letters that are not hex', 'g'.repeat(64)],
  ['a passphrase', 'correct horse battery staple'],
];

for (const [what, text] of MALFORMED)
  test(`refuses ${what}, without repeating it`, (t) => {
    const error = t.throws(() => parseKeyEncryptionKey(text));
    t.like(error, { code: 'config_invalid' });
    t.false(text !== '' && error.message.includes(text));
  });

test('a new key is in a file that only its owner can read, and is read back', async (t) => {
  const { path } = t.context;
  const made = await createKeyEncryptionKey(path);
  t.is((await stat(path)).mode & 0o777, 0o600);
  t.is((await readKeyEncryptionKey(path)).id, made.id);
});

test('a key that is there is never overwritten', async (t) => {
  const { path } = t.context;
  await createKeyEncryptionKey(path);
  const before = await readFile(path, 'utf8');
  t.like(await t.throwsAsync(createKeyEncryptionKey(path)), { code: 'already_exists' });
  t.is(await readFile(path, 'utf8'), before);
});

for (const mode of [0o640, 0o604, 0o660, 0o777])
  test(`refuses a file of mode ${mode.toString(8)}`, async (t) => {
    const { path } = t.context;
    await createKeyEncryptionKey(path);
    await chmod(path, mode);
    t.like(await t.throwsAsync(readKeyEncryptionKey(path)), { code: 'config_invalid' });
  });

test('refuses a file that is too large, and a path that is no file', async (t) => {
  const { path, directory } = t.context;
  await writeFile(path, 'a'.repeat(2000), { mode: 0o600 });
  t.like(await t.throwsAsync(readKeyEncryptionKey(path)), { code: 'config_invalid' });
  t.like(await t.throwsAsync(readKeyEncryptionKey(join(path, 'kek'))), { code: 'config_invalid' });
  await chmod(directory, 0o700);
  t.like(await t.throwsAsync(readKeyEncryptionKey(directory)), { code: 'config_invalid' });
});

test('loads the key of the environment, else of the file, else makes the file', async (t) => {
  const { path } = t.context;
  const given = randomBytes(32).toString('base64');
  t.is((await loadKeyEncryptionKey(path, given)).id, parseKeyEncryptionKey(given).id);
  await t.throwsAsync(stat(path), { code: 'ENOENT' });
  const made = await loadKeyEncryptionKey(path);
  t.is((await loadKeyEncryptionKey(path)).id, made.id);
});

test('never makes a key in place of one that it may not use', async (t) => {
  const { path } = t.context;
  await writeFile(path, 'not a key', { mode: 0o600 });
  t.like(await t.throwsAsync(loadKeyEncryptionKey(path)), { code: 'config_invalid' });
  t.is(await readFile(path, 'utf8'), 'not a key');
});
