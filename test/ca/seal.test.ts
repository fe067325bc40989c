import { randomBytes } from 'node:crypto';
import test from 'ava';
import { parseKeyEncryptionKey } from '../../src/ca/key-encryption-key.ts';
import { sealKey, unsealKey } from '../../src/ca/seal.ts';
import { CarnetError } from '../../src/errors.ts';

const KEK = parseKeyEncryptionKey(randomBytes(32).toString('hex'));
const OTHER_KEK = parseKeyEncryptionKey(randomBytes(32).toString('hex'));
const SECRET = randomBytes(138);

test('a sealed key opens under its key-encryption key, for its authority', (t) => {
  t.deepEqual(unsealKey(KEK, 'issuing-01234567', sealKey(KEK, 'issuing-01234567', SECRET)), SECRET);
});

test('sealing twice gives two different texts, neither with the key in it', (t) => {
  const [one, two] = [Buffer.from(sealKey(KEK, 'a', SECRET)), Buffer.from(sealKey(KEK, 'a', SECRET))];
  t.false(one.equals(two));
  t.false(one.includes(SECRET.subarray(0, 8)));
});

test('another key-encryption key is refused by name, before anything is tried', (t) => {
  const error = t.throws(() => unsealKey(OTHER_KEK, 'root-01234567', sealKey(KEK, 'root-01234567', SECRET)), {
    instanceOf: CarnetError,
  });
  t.is(error?.code, 'key_unseal_failed');
  for (const said of ['root-01234567', KEK.id, OTHER_KEK.id]) t.true(error?.message.includes(said));
});

test("another authority's sealed key is refused", (t) => {
  const sealed = sealKey(KEK, 'issuing-01234567', SECRET);
  t.like(
    t.throws(() => unsealKey(KEK, 'issuing-89abcdef', sealed)),
    { code: 'key_unseal_failed' },
  );
});

test('a sealed key with any one bit flipped is refused', (t) => {
  const sealed = sealKey(KEK, 'issuing-01234567', SECRET);
  for (let bit = 0; bit < sealed.length * 8; bit++) {
    const changed = Buffer.from(sealed);
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    t.like(
      t.throws(() => unsealKey(KEK, 'issuing-01234567', changed)),
      { code: 'key_unseal_failed' },
    );
  }
});

test('a sealed key cut short at any byte is refused', (t) => {
  const sealed = sealKey(KEK, 'issuing-01234567', SECRET);
  for (let length = 0; length < sealed.length; length++)
    t.like(
      t.throws(() => unsealKey(KEK, 'issuing-01234567', sealed.subarray(0, length))),
      { code: 'key_unseal_failed' },
    );
});
