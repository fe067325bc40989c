import 'reflect-metadata';
import { randomBytes, sign, webcrypto } from 'node:crypto';
import {
  Pkcs10CertificateRequest,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
} from '@peculiar/x509';
import test from 'ava';
import { CarnetError } from '../../src/errors.ts';
import { buildCsr } from '../../src/x509/build-csr.ts';
import { concatBytes } from '../../src/x509/bytes.ts';
import { MAX_CSR_BYTES, parseCsr } from '../../src/x509/csr.ts';
import { TAG } from '../../src/x509/der-tag.ts';
import {
  asciiString,
  bitString,
  element,
  explicit,
  NULL,
  objectIdentifier,
  sequence,
} from '../../src/x509/der-writer.ts';
import { OID } from '../../src/x509/oid.ts';
import { encodePem } from '../../src/x509/pem.ts';
import type { KeyKind } from '../../src/x509/public-key.ts';
import { SIGNATURE_ALGORITHMS } from '../../src/x509/signature-algorithm.ts';
import { setOf } from './certificates.ts';
import { generateKeys, rsaSpki, spkiOf } from './keys.ts';
import { openssl } from './openssl.ts';

const KINDS: readonly KeyKind[] = ['ec-p256', 'ec-p384', 'rsa', 'ed25519'];
const KEYS = generateKeys('ec-p256');
const OTHER = generateKeys('ec-p256');
const RSA = generateKeys('rsa');

for (const kind of KINDS)
  test(`what an agent builds for an ${kind} key is read, here, by OpenSSL and by @peculiar/x509`, async (t) => {
    const keys = generateKeys(kind);
    const der = buildCsr(keys, kind);
    const publicKey = await parseCsr(der);
    t.is(publicKey.kind, kind);
    t.deepEqual(Buffer.from(publicKey.spki), Buffer.from(spkiOf(keys)));
    const { stderr, status } = openssl(['req', '-verify', '-noout'], encodePem('CERTIFICATE REQUEST', der));
    t.is(status, 0, stderr);
    const read = new Pkcs10CertificateRequest(der);
    t.is(read.subject, '');
    t.true(await read.verify(webcrypto));
  });

test('takes only the key from a request that asks for more', async (t) => {
  const keys = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
    'sign',
    'verify',
  ]);
  const request = await Pkcs10CertificateRequestGenerator.create(
    {
      name: 'CN=admin, O=somebody',
      keys,
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      extensions: [
        new SubjectAlternativeNameExtension([{ type: 'url', value: 'spiffe://carnet.test/admin' }]),
      ],
    },
    webcrypto,
  );
  const publicKey = await parseCsr(new Uint8Array(request.rawData));
  t.deepEqual(Object.keys(publicKey).sort(), ['bits', 'key', 'kind', 'octets', 'spki']);
  t.deepEqual(
    Buffer.from(publicKey.spki),
    Buffer.from(await webcrypto.subtle.exportKey('spki', keys.publicKey)),
  );
});

const VERSION_1 = Uint8Array.of(2, 1, 0);
const { ecdsaWithSha256, ecdsaWithSha512, sha256WithRsa, ed25519 } = SIGNATURE_ALGORITHMS;

interface Parts {
  version: Uint8Array;
  subject: Uint8Array;
  spki: Uint8Array;
  attributes: Uint8Array;
  more: Uint8Array;
  algorithm: Uint8Array;
  signature(info: Uint8Array): Uint8Array;
}

/** A good request but for what is changed in it; the signature is made over the changed request. */
function csr(changes: Partial<Parts> = {}): Uint8Array {
  const parts: Parts = {
    version: VERSION_1,
    subject: sequence(),
    spki: spkiOf(KEYS),
    attributes: explicit(0),
    more: new Uint8Array(),
    algorithm: ecdsaWithSha256.der,
    signature: (info) => sign('sha256', info, KEYS.privateKey),
    ...changes,
  };
  const info = sequence(parts.version, parts.subject, parts.spki, parts.attributes, parts.more);
  return sequence(info, parts.algorithm, bitString(parts.signature(info)));
}

function attribute(...values: Uint8Array[]): Uint8Array {
  return sequence(objectIdentifier('1.2.840.113549.1.9.7'), element(TAG.set, ...values));
}

const COMMON_NAME = sequence(objectIdentifier('2.5.4.3'), asciiString(TAG.utf8String, 'x'));

const ACCEPTED: readonly [string, Uint8Array][] = [
  ['nothing but a key', csr()],
  ['a subject', csr({ subject: sequence(setOf(COMMON_NAME)) })],
  [
    'a subject whose first part has two attributes',
    csr({ subject: sequence(element(TAG.set, COMMON_NAME, COMMON_NAME)) }),
  ],
  ['attributes of any kind', csr({ attributes: explicit(0, attribute(NULL, sequence(NULL))) })],
  [
    'a signature with SHA-512',
    csr({ algorithm: ecdsaWithSha512.der, signature: (info) => sign('sha512', info, KEYS.privateKey) }),
  ],
];

for (const [what, der] of ACCEPTED)
  test(`accepts a request with ${what} (RFC 2986 §4)`, async (t) => {
    t.is((await parseCsr(der)).kind, 'ec-p256');
  });

const good = csr();
const flipped = Buffer.from(good);
flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1;
const sha1 = sequence(objectIdentifier('1.2.840.10045.4.1'));

const REFUSED: readonly [string, string, Uint8Array][] = [
  [
    'a signature by another key',
    'proof_of_possession_failed',
    csr({ signature: (info) => sign('sha256', info, OTHER.privateKey) }),
  ],
  ["another's public key", 'proof_of_possession_failed', csr({ spki: spkiOf(OTHER) })],
  [
    'a signature over something else',
    'proof_of_possession_failed',
    csr({ signature: () => sign('sha256', Buffer.from('x'), KEYS.privateKey) }),
  ],
  ['a signature with one bit flipped', 'proof_of_possession_failed', flipped],
  ['a signature of no octets', 'proof_of_possession_failed', csr({ signature: () => new Uint8Array() })],
  [
    'an ECDSA signature of zeros',
    'proof_of_possession_failed',
    csr({ signature: () => sequence(VERSION_1, VERSION_1) }),
  ],
  [
    'an ECDSA signature that is not DER',
    'proof_of_possession_failed',
    csr({ signature: (info) => sign('sha256', info, { key: KEYS.privateKey, dsaEncoding: 'ieee-p1363' }) }),
  ],
  [
    'an ECDSA signature with an octet behind it',
    'proof_of_possession_failed',
    csr({ signature: (info) => concatBytes(sign('sha256', info, KEYS.privateKey), Buffer.of(0)) }),
  ],
  [
    'an algorithm other than the one that signed',
    'proof_of_possession_failed',
    csr({ algorithm: ecdsaWithSha512.der }),
  ],
  ['an algorithm that its key does not have', 'csr_malformed', csr({ algorithm: sha256WithRsa.der })],
  ['Ed25519 for an EC key', 'csr_malformed', csr({ algorithm: ed25519.der })],
  [
    'SHA-1',
    'csr_malformed',
    csr({ algorithm: sha1, signature: (info) => sign('sha1', info, KEYS.privateKey) }),
  ],
  [
    'RSASSA-PSS',
    'csr_malformed',
    csr({ spki: spkiOf(RSA), algorithm: sequence(objectIdentifier('1.2.840.113549.1.1.10')) }),
  ],
  [
    'RSA without its NULL parameters (RFC 4055 §5)',
    'csr_malformed',
    csr({
      spki: spkiOf(RSA),
      algorithm: sequence(objectIdentifier(OID.sha256WithRsaEncryption)),
      signature: (info) => sign('sha256', info, RSA.privateKey),
    }),
  ],
  [
    'ECDSA with NULL parameters (RFC 5758 §3.2)',
    'csr_malformed',
    csr({ algorithm: sequence(objectIdentifier(OID.ecdsaWithSha256), NULL) }),
  ],
  [
    'a weak key',
    'key_weak',
    csr({ spki: rsaSpki(sequence(Buffer.from('020103', 'hex'), Buffer.from('0203010001', 'hex'))) }),
  ],
  [
    'a key that we do not read',
    'key_unsupported',
    csr({ spki: sequence(sequence(objectIdentifier('1.2.3')), bitString(new Uint8Array(4))) }),
  ],
  ['a key that is no key', 'csr_malformed', csr({ spki: sequence() })],
  ['version 2', 'csr_malformed', csr({ version: Uint8Array.of(2, 1, 1) })],
  ['no version', 'csr_malformed', csr({ version: new Uint8Array() })],
  ['no subject', 'csr_malformed', csr({ subject: new Uint8Array() })],
  ['a subject with an empty set', 'csr_malformed', csr({ subject: sequence(element(TAG.set)) })],
  [
    'a subject with an attribute that has no value',
    'csr_malformed',
    csr({ subject: sequence(setOf(sequence(objectIdentifier('2.5.4.3')))) }),
  ],
  [
    'a subject with an attribute that has two values',
    'csr_malformed',
    csr({ subject: sequence(setOf(sequence(objectIdentifier('2.5.4.3'), NULL, NULL))) }),
  ],
  ['no attributes field (RFC 2986 §4.1)', 'csr_malformed', csr({ attributes: new Uint8Array() })],
  [
    'an attribute without values',
    'csr_malformed',
    csr({ attributes: explicit(0, sequence(objectIdentifier('1.2.3'))) }),
  ],
  [
    'an attribute with a part too many',
    'csr_malformed',
    csr({ attributes: explicit(0, sequence(objectIdentifier('1.2.3'), element(TAG.set), NULL)) }),
  ],
  ['something behind the attributes', 'csr_malformed', csr({ more: NULL })],
  ['something behind the request', 'csr_malformed', concatBytes(good, NULL)],
  [
    'an indefinite length',
    'csr_malformed',
    concatBytes(Buffer.of(0x30, 0x80), good.subarray(2), Buffer.of(0, 0)),
  ],
  [
    'a BIT STRING that is not whole octets',
    'csr_malformed',
    sequence(
      sequence(VERSION_1, sequence(), spkiOf(KEYS), explicit(0)),
      ecdsaWithSha256.der,
      element(TAG.bitString, Buffer.of(1, 2)),
    ),
  ],
  [
    'a certificate in its place',
    'csr_malformed',
    sequence(sequence(explicit(0, VERSION_1)), ecdsaWithSha256.der, bitString(new Uint8Array(8))),
  ],
  ['PEM', 'csr_malformed', Buffer.from(encodePem('CERTIFICATE REQUEST', good))],
  ['random bytes', 'csr_malformed', randomBytes(300)],
  ['no bytes', 'csr_malformed', new Uint8Array()],
  [
    'more than 16 KiB',
    'csr_malformed',
    csr({ attributes: explicit(0, attribute(element(TAG.octetString, new Uint8Array(MAX_CSR_BYTES)))) }),
  ],
];

for (const [what, code, der] of REFUSED)
  test(`refuses a request with ${what}: ${code}`, async (t) => {
    t.like(await t.throwsAsync(() => parseCsr(der), { instanceOf: CarnetError }), { code });
  });

test('refuses a request cut short at any byte', async (t) => {
  for (let length = 0; length < good.length; length++)
    t.like(await t.throwsAsync(() => parseCsr(good.subarray(0, length)), { instanceOf: CarnetError }), {
      code: 'csr_malformed',
    });
});

test('an agent’s request names the key as OpenSSL encodes it, whatever the coordinates begin with', async (t) => {
  for (let i = 0; i < 600; i++) {
    const keys = generateKeys('ec-p256');
    t.deepEqual(Buffer.from((await parseCsr(buildCsr(keys))).spki), Buffer.from(spkiOf(keys)));
  }
});
