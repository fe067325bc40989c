import 'reflect-metadata';
import { generateKeyPairSync, type JsonWebKey, webcrypto, X509Certificate } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import test from 'ava';
import type { CarnetError } from '../../src/errors.ts';
import {
  type BundleDocument,
  encodeBundle,
  encodeJwtKeys,
  encodeOidcKeys,
  parseBundle,
} from '../../src/identity/bundle-document.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';

x509.cryptoProvider.set(webcrypto as never);

const ALGORITHMS = {
  'ec-p256': { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  'ec-p384': { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' },
  'rsa-2048': {
    name: 'RSASSA-PKCS1-v1_5',
    hash: 'SHA-256',
    publicExponent: new Uint8Array([1, 0, 1]),
    modulusLength: 2048,
  },
  ed25519: { name: 'Ed25519' },
} as const;

async function selfSigned(algorithm: keyof typeof ALGORITHMS, ca = true): Promise<Uint8Array> {
  const signingAlgorithm = ALGORITHMS[algorithm];
  const keys = (await webcrypto.subtle.generateKey(signingAlgorithm, true, [
    'sign',
    'verify',
  ])) as webcrypto.CryptoKeyPair;
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: '01',
    name: `CN=${algorithm}`,
    notBefore: new Date('2026-01-01'),
    notAfter: new Date('2027-01-01'),
    signingAlgorithm,
    keys,
    extensions: [new x509.BasicConstraintsExtension(ca, undefined, true)],
  });
  return new Uint8Array(certificate.rawData);
}

async function document(...authorities: Uint8Array[]): Promise<BundleDocument> {
  const x509Authorities = authorities.length > 0 ? authorities : [await selfSigned('ec-p256')];
  return encodeBundle(
    {
      trustDomain: parseTrustDomain('carnet.local'),
      sequence: 7,
      x509Sequence: 7,
      x509Authorities,
      crls: [],
      jwtAuthorities: [],
    },
    300,
  );
}

for (const algorithm of Object.keys(ALGORITHMS) as (keyof typeof ALGORITHMS)[])
  test(`publishes an ${algorithm} root as a JWK that Node imports as the certificate's key (X509-SVID §6.1)`, async (t) => {
    const der = await selfSigned(algorithm);
    const { keys } = await document(der);
    const [jwk = {}] = keys;
    t.is(keys.length, 1);
    t.is(jwk.use, 'x509-svid');
    t.false('kid' in jwk);
    t.deepEqual(jwk.x5c, [Buffer.from(der).toString('base64')]);
    const { kty, crv, x, y, n, e } = new X509Certificate(der).publicKey.export({ format: 'jwk' });
    t.like(jwk, JSON.parse(JSON.stringify({ kty, crv, x, y, n, e })));
    t.deepEqual(parseBundle(JSON.stringify({ keys })).x509Authorities.map(hex), [hex(der)]);
  });

test('what is published reads back: sequence, hint, and roots in order (Trust Domain and Bundle §4.1)', async (t) => {
  const roots = [await selfSigned('ec-p256'), await selfSigned('ec-p256')];
  const parsed = parseBundle(JSON.stringify(await document(...roots)));
  t.is(parsed.sequence, 7n);
  t.is(parsed.refreshHintSeconds, 300);
  t.deepEqual(parsed.x509Authorities.map(hex), roots.map(hex));
});

test('keys of JWT-SVIDs are published with their IDs, beside the roots, and read back (JWT-SVID §6.1)', (t) => {
  const jwtAuthorities = ['ec', 'rsa'].map((type, i) => {
    const { publicKey } =
      type === 'ec'
        ? generateKeyPairSync('ec', { namedCurve: 'P-256' })
        : generateKeyPairSync('rsa', { modulusLength: 2048 });
    return { keyId: `jwt-${i}`, publicKey: publicKey.export({ format: 'der', type: 'spki' }) };
  });
  const { keys } = encodeJwtKeys({ jwtAuthorities });
  t.deepEqual(
    keys.map(({ use, kid, kty, alg }) => ({ use, kid, kty, alg })),
    [
      { use: 'jwt-svid', kid: 'jwt-0', kty: 'EC', alg: undefined },
      { use: 'jwt-svid', kid: 'jwt-1', kty: 'RSA', alg: undefined },
    ],
  );
  t.deepEqual(parseBundle(JSON.stringify({ keys })).jwtAuthorities, jwtAuthorities);
  t.deepEqual(
    encodeOidcKeys({ jwtAuthorities }).keys.map(({ use, kid, alg }) => [use, kid, alg]),
    [
      ['sig', 'jwt-0', 'ES256'],
      ['sig', 'jwt-1', 'RS256'],
    ],
  );
});

for (const [what, jwk] of [
  ['without a key ID', { kid: undefined }],
  ['with an empty key ID', { kid: '' }],
  ['that is no key', { x: 'AAAA' }],
] as const)
  test(`refuses the whole for a key of JWT-SVIDs ${what}`, (t) => {
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const key = { use: 'jwt-svid', kid: 'a', ...publicKey.export({ format: 'jwk' }), ...jwk };
    const error = t.throws(() => parseBundle(JSON.stringify({ keys: [key] })));
    t.is((error as CarnetError).code, 'invalid_argument');
  });

test('a sequence of more than 53 bits is read exactly (§4.1.1)', (t) => {
  t.is(parseBundle('{"spiffe_sequence": 9007199254740993, "keys": []}').sequence, 9007199254740993n);
});

test('an empty set of keys is a bundle that trusts nothing (§4.1.3)', (t) => {
  t.deepEqual(parseBundle('{"keys": []}'), {
    sequence: null,
    refreshHintSeconds: null,
    x509Authorities: [],
    jwtAuthorities: [],
  });
});

/** A document of one key, its certificate, and what spoils it. */
interface Material {
  key: JsonWebKey;
  der: Buffer;
  x5c: string[];
  foreignX5c: string[];
  notCa: BundleDocument;
}

let material: Material;

test.before(async () => {
  const [key = {}] = (await document()).keys;
  const [foreign = {}] = (await document()).keys;
  const x5c = key.x5c as string[];
  material = {
    key,
    der: Buffer.from(x5c[0] ?? '', 'base64'),
    x5c,
    foreignX5c: foreign.x5c as string[],
    notCa: await document(await selfSigned('ec-p256', false)),
  };
});

for (const [claim, change] of [
  ['an unknown key type (§4.2.1)', { kty: 'AKP' }],
  ['no key type (§4.2.1)', { kty: undefined }],
  ['another use (§4.2.2)', { use: 'wit-svid' }],
  ['no use (§4.2.2)', { use: undefined }],
  ['a use in another case (§4.2.2)', { use: 'X509-SVID' }],
  ['no certificate (X509-SVID §6.2)', { x5c: undefined }],
  ['an empty list of certificates (X509-SVID §6.2)', { x5c: [] }],
] as const)
  test(`passes over a key with ${claim}`, (t) => {
    const keys = [{ ...material.key, ...change }];
    t.deepEqual(parseBundle(JSON.stringify({ keys })).x509Authorities, []);
  });

test('takes the first of several certificates and passes over the rest (X509-SVID §6.2)', (t) => {
  const { key, der, x5c, foreignX5c } = material;
  const keys = [{ ...key, x5c: [...x5c, ...foreignX5c] }];
  t.deepEqual(parseBundle(JSON.stringify({ keys })).x509Authorities.map(hex), [hex(der)]);
});

test('a root that is listed twice is returned once', (t) => {
  const { key } = material;
  t.is(parseBundle(JSON.stringify({ keys: [key, key] })).x509Authorities.length, 1);
});

for (const [claim, text] of [
  ['text that is not JSON', '{'],
  ['an array', '[]'],
  ['null', 'null'],
  ['no keys (§4.1.3)', '{}'],
  ['keys that are no array', '{"keys": {}}'],
  ['a key that is no object', '{"keys": ["x"]}'],
  ['257 keys', JSON.stringify({ keys: Array(257).fill({}) })],
  ['more than a MiB', JSON.stringify({ keys: [], padding: 'x'.repeat(1_048_576) })],
  ['a fractional sequence (§4.1.1)', '{"keys": [], "spiffe_sequence": 1.5}'],
  ['a negative sequence (§4.1.1)', '{"keys": [], "spiffe_sequence": -1}'],
  ['a sequence in quotes (§4.1.1)', '{"keys": [], "spiffe_sequence": "1"}'],
  ['a fractional refresh hint (§4.1.2)', '{"keys": [], "spiffe_refresh_hint": 0.5}'],
] as const)
  test(`refuses the whole document for ${claim}`, (t) => {
    t.throws(() => parseBundle(text), { code: 'invalid_argument' });
  });

for (const [claim, spoil] of [
  ['x5c that is no array', ({ x5c }) => x5c[0]],
  ['a certificate in base64url (RFC 7517 §4.7)', ({ der }) => [`${der.toString('base64url')}-_`]],
  ['a certificate that is cut short', ({ der }) => [der.subarray(0, -9).toString('base64')]],
  ['bytes after the certificate', ({ der }) => [Buffer.concat([der, der]).toString('base64')]],
  ['a certificate of another key (RFC 7517 §4.7)', ({ foreignX5c }) => foreignX5c],
] as [string, (material: Material) => unknown][])
  test(`refuses the whole document for ${claim}`, (t) => {
    const keys = [{ ...material.key, x5c: spoil(material) }];
    t.throws(() => parseBundle(JSON.stringify({ keys })), { code: 'invalid_argument' });
  });

test('refuses the whole document for a certificate that is no CA (X509-SVID §6.1)', (t) => {
  t.throws(() => parseBundle(JSON.stringify(material.notCa)), { code: 'invalid_argument' });
});

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}
