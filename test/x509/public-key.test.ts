import { createHash, ECDH, generateKeyPairSync } from 'node:crypto';
import test from 'ava';
import { CarnetError } from '../../src/errors.ts';
import { concatBytes } from '../../src/x509/bytes.ts';
import { TAG } from '../../src/x509/der-tag.ts';
import {
  bitString,
  element,
  NULL,
  objectIdentifier,
  sequence,
  unsignedInteger,
} from '../../src/x509/der-writer.ts';
import { OID } from '../../src/x509/oid.ts';
import { type KeyKind, keyIdentifier, parsePublicKey } from '../../src/x509/public-key.ts';
import { ecSpki, generateKeys, rsaSpki, spkiOf } from './keys.ts';

const P256 = generateKeys('ec-p256');
const P256_POINT = spkiOf(P256).subarray(-65);
const RSA = generateKeys('rsa');

function magnitude(hex: string): Uint8Array {
  return unsignedInteger(Buffer.from(hex.length % 2 ? `0${hex}` : hex, 'hex'));
}

/** An RSA key with an odd modulus of so many bits, which nobody knows the factors of. */
function rsa(bits: number, exponent = '010001'): Uint8Array {
  const modulus = (1n << BigInt(bits - 1)) + 0x1234567n;
  return rsaSpki(sequence(magnitude(modulus.toString(16)), magnitude(exponent)));
}

const ACCEPTED: readonly [string, KeyKind, number, Uint8Array][] = [
  ['EC P-256', 'ec-p256', 256, spkiOf(P256)],
  ['EC P-384', 'ec-p384', 384, spkiOf(generateKeys('ec-p384'))],
  ['RSA of 2048 bits', 'rsa', 2048, spkiOf(RSA)],
  ['RSA of 2049 bits', 'rsa', 2049, rsa(2049)],
  ['RSA of 8192 bits', 'rsa', 8192, rsa(8192)],
  ['RSA with exponent 2^31 - 1', 'rsa', 2048, rsa(2048, '7fffffff')],
  ['Ed25519', 'ed25519', 256, spkiOf(generateKeys('ed25519'))],
];

for (const [what, kind, bits, spki] of ACCEPTED)
  test(`reads ${what}`, (t) => {
    const key = parsePublicKey(spki);
    t.is(key.kind, kind);
    t.is(key.bits, bits);
    t.deepEqual(Buffer.from(key.key.export({ format: 'der', type: 'spki' })), Buffer.from(spki));
  });

const { publicKey: p521 } = generateKeyPairSync('ec', { namedCurve: 'P-521' });
const { publicKey: k256 } = generateKeyPairSync('ec', { namedCurve: 'secp256k1' });
const { publicKey: explicitCurve } = generateKeyPairSync('ec', {
  namedCurve: 'P-256',
  paramEncoding: 'explicit',
});
const { publicKey: pss } = generateKeyPairSync('rsa-pss', { modulusLength: 2048 });
const { publicKey: x25519 } = generateKeyPairSync('x25519');
const { publicKey: ed448 } = generateKeyPairSync('ed448');
const { publicKey: dsa } = generateKeyPairSync('dsa', { modulusLength: 2048, divisorLength: 256 });

const compressed = Buffer.from(
  ECDH.convertKey(P256_POINT, 'prime256v1', undefined, undefined, 'compressed') as Buffer,
);
const hybrid = Buffer.from(
  ECDH.convertKey(P256_POINT, 'prime256v1', undefined, undefined, 'hybrid') as Buffer,
);
const offCurve = Buffer.from(P256_POINT);
offCurve[64] = (offCurve[64] ?? 0) ^ 1;
/** P-256's field prime: no coordinate may be as large (SEC 1 §2.3.4). */
const FIELD_PRIME = 'ffffffff00000001000000000000000000000000ffffffffffffffffffffffff';
const tooLarge = Buffer.concat([Buffer.of(4), Buffer.from(FIELD_PRIME, 'hex'), P256_POINT.subarray(33)]);

function exported(key: typeof p521): Uint8Array {
  return key.export({ format: 'der', type: 'spki' });
}

const REFUSED: readonly [string, string, Uint8Array][] = [
  ['EC P-521', 'key_unsupported', exported(p521)],
  ['EC secp256k1', 'key_unsupported', exported(k256)],
  ['EC with explicit curve parameters (RFC 5480 §2.1.1)', 'key_unsupported', exported(explicitCurve)],
  ['an EC point off the curve', 'key_unsupported', ecSpki(OID.secp256r1, offCurve)],
  ['an EC point outside of the field', 'key_unsupported', ecSpki(OID.secp256r1, tooLarge)],
  [
    'the EC point (0, 0)',
    'key_unsupported',
    ecSpki(OID.secp256r1, Buffer.concat([Buffer.of(4), Buffer.alloc(64)])),
  ],
  ['the EC point at infinity', 'key_unsupported', ecSpki(OID.secp256r1, Buffer.of(0))],
  ['a compressed EC point', 'key_unsupported', ecSpki(OID.secp256r1, compressed)],
  ['a hybrid EC point', 'key_unsupported', ecSpki(OID.secp256r1, hybrid)],
  ["one curve's point under another's name", 'key_unsupported', ecSpki(OID.secp384r1, P256_POINT)],
  [
    'an EC point with an octet too many',
    'key_unsupported',
    ecSpki(OID.secp256r1, Buffer.concat([P256_POINT, Buffer.of(0)])),
  ],
  ['an EC key without a point', 'key_unsupported', ecSpki(OID.secp256r1, new Uint8Array())],
  [
    'an EC key without parameters',
    'key_unsupported',
    sequence(sequence(objectIdentifier(OID.ecPublicKey)), bitString(P256_POINT)),
  ],
  [
    'an EC key with something behind its curve',
    'der_malformed',
    sequence(
      sequence(objectIdentifier(OID.ecPublicKey), objectIdentifier(OID.secp256r1), NULL),
      bitString(P256_POINT),
    ),
  ],
  ['RSA of 2047 bits', 'key_weak', rsa(2047)],
  ['RSA of 1024 bits', 'key_weak', rsa(1024)],
  ['RSA of 8193 bits', 'key_unsupported', rsa(8193)],
  ['RSA with exponent 3', 'key_weak', rsa(2048, '03')],
  ['RSA with exponent 65535', 'key_weak', rsa(2048, 'ffff')],
  ['RSA with exponent 1', 'key_weak', rsa(2048, '01')],
  ['RSA with exponent 0', 'key_weak', rsa(2048, '00')],
  ['RSA with an even exponent', 'key_weak', rsa(2048, '010002')],
  ['RSA with exponent 2^31 + 1', 'key_unsupported', rsa(2048, '80000001')],
  ['RSA with an exponent of 256 octets', 'key_unsupported', rsa(2048, 'ff'.repeat(256))],
  [
    'RSA with an even modulus',
    'key_weak',
    rsaSpki(sequence(magnitude((1n << 2047n).toString(16)), magnitude('010001'))),
  ],
  ['RSA with modulus 0', 'key_weak', rsaSpki(sequence(magnitude('00'), magnitude('010001')))],
  [
    'RSA with a negative modulus',
    'der_malformed',
    rsaSpki(sequence(element(TAG.integer, Buffer.alloc(256, 0x80)), magnitude('010001'))),
  ],
  [
    'RSA with a number too many',
    'der_malformed',
    rsaSpki(sequence(magnitude('11'.repeat(256)), magnitude('010001'), magnitude('01'))),
  ],
  [
    'RSA with something behind the key',
    'der_malformed',
    rsaSpki(concatBytes(sequence(magnitude('11'.repeat(256)), magnitude('010001')), NULL)),
  ],
  [
    'RSA without its NULL parameters (RFC 3279 §2.3.1)',
    'der_malformed',
    sequence(sequence(objectIdentifier(OID.rsaEncryption)), bitString(new Uint8Array(9))),
  ],
  ['RSASSA-PSS', 'key_unsupported', exported(pss)],
  ['DSA', 'key_unsupported', exported(dsa)],
  ['X25519', 'key_unsupported', exported(x25519)],
  ['Ed448', 'key_unsupported', exported(ed448)],
  [
    'Ed25519 of 31 octets',
    'key_unsupported',
    sequence(sequence(objectIdentifier(OID.ed25519)), bitString(new Uint8Array(31))),
  ],
  [
    'Ed25519 with NULL parameters (RFC 8410 §3)',
    'der_malformed',
    sequence(sequence(objectIdentifier(OID.ed25519), NULL), bitString(new Uint8Array(32))),
  ],
  [
    'a key that is not whole octets',
    'der_malformed',
    sequence(
      sequence(objectIdentifier(OID.ed25519)),
      element(TAG.bitString, Buffer.of(1), new Uint8Array(32)),
    ),
  ],
  ['something behind the key', 'der_malformed', concatBytes(spkiOf(P256), NULL)],
  [
    'something behind the key, within',
    'der_malformed',
    sequence(sequence(objectIdentifier(OID.ed25519)), bitString(new Uint8Array(32)), NULL),
  ],
  ['no bytes', 'der_malformed', new Uint8Array()],
];

for (const [what, code, spki] of REFUSED)
  test(`refuses ${what}: ${code}`, (t) => {
    t.like(
      t.throws(() => parsePublicKey(spki), { instanceOf: CarnetError }),
      { code },
    );
  });

test('refuses a key cut short at any byte', (t) => {
  for (const whole of [spkiOf(P256), spkiOf(RSA)])
    for (let length = 0; length < whole.length; length++)
      t.throws(() => parsePublicKey(whole.subarray(0, length)), { instanceOf: CarnetError });
});

test('the key identifier is the first 160 bits of the SHA-256 of subjectPublicKey (RFC 7093 §2)', (t) => {
  const { octets } = parsePublicKey(spkiOf(P256));
  t.deepEqual(Buffer.from(octets), Buffer.from(P256_POINT));
  t.deepEqual(
    Buffer.from(keyIdentifier(octets)),
    createHash('sha256').update(P256_POINT).digest().subarray(0, 20),
  );
});
