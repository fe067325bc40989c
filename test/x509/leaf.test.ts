import 'reflect-metadata';
import { sign, webcrypto, X509Certificate } from 'node:crypto';
import {
  AuthorityInfoAccessExtension,
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  CRLDistributionPointsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Name,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import test from 'ava';
import fc from 'fast-check';
import { toHex } from '../../src/x509/bytes.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { TAG } from '../../src/x509/der-tag.ts';
import { element, sequence } from '../../src/x509/der-writer.ts';
import { encodeCertificate, encodeTbs, type LeafFields, leafTemplate } from '../../src/x509/leaf.ts';
import { OID } from '../../src/x509/oid.ts';
import { encodePem } from '../../src/x509/pem.ts';
import type { KeyKind } from '../../src/x509/public-key.ts';
import { serialHex } from '../../src/x509/serial.ts';
import { SIGNATURE_ALGORITHMS } from '../../src/x509/signature-algorithm.ts';
import { encodeTime } from '../../src/x509/time.ts';
import { authorityWith, ISSUER_KEYS, ISSUER_NAME, keyIdentifierOf } from './certificates.ts';
import { generateKeys, type KeyPair, spkiOf } from './keys.ts';
import { openssl } from './openssl.ts';

const ISSUER = parseCertificate(
  authorityWith({
    subject: ISSUER_NAME,
    spki: spkiOf(ISSUER_KEYS),
    validity: sequence(encodeTime(new Date('1990-01-01')), encodeTime(new Date('2100-01-01'))),
    extensions: {
      subjectKeyIdentifier: [false, element(TAG.octetString, keyIdentifierOf(ISSUER_KEYS))],
    },
  }),
);
const PROFILE = { keyUsage: ['digitalSignature'], extKeyUsage: [OID.serverAuth, OID.clientAuth] } as const;
const ALGORITHM = SIGNATURE_ALGORITHMS.ecdsaWithSha256.der;
const TEMPLATE = leafTemplate(PROFILE, ISSUER, ALGORITHM, null);
const LOCATIONS = { certificate: 'http://ca.test:8080/x/ca/a.cer', crl: 'http://ca.test:8080/x/crl/a.crl' };
const LOCATED = leafTemplate(PROFILE, ISSUER, ALGORITHM, LOCATIONS);

const KEYS = (['ec-p256', 'ec-p384', 'rsa', 'ed25519'] as const).map((kind: KeyKind) => generateKeys(kind));

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/);
const second = fc.integer({ min: Date.UTC(1991, 0) / 1000, max: Date.UTC(2099, 0) / 1000 });
const fields: fc.Arbitrary<{ leaf: LeafFields; keys: KeyPair }> = fc
  .record({
    serial: fc
      .uint8Array({ minLength: 16, maxLength: 16 })
      .filter((octets) => octets.some((octet) => octet > 0)),
    begin: second,
    lifeSeconds: fc.integer({ min: 1, max: 86_400 }),
    keys: fc.constantFrom(...KEYS),
    path: fc.array(fc.stringMatching(/^[a-zA-Z0-9_-]{1,40}$/), { minLength: 1, maxLength: 20 }),
    dnsNames: fc.array(fc.array(label, { minLength: 1, maxLength: 5 }), { maxLength: 12 }),
  })
  .map(({ serial, begin, lifeSeconds, keys, path, dnsNames }) => ({
    keys,
    leaf: {
      serial,
      notBefore: new Date(begin * 1000),
      notAfter: new Date((begin + lifeSeconds) * 1000),
      spki: spkiOf(keys),
      subjectKeyIdentifier: keyIdentifierOf(keys),
      spiffeId: `spiffe://carnet.test/${path.join('/')}`,
      dnsNames: dnsNames.map((labels) => labels.join('.')),
    },
  }));

function encode(leaf: LeafFields, template = TEMPLATE): Uint8Array {
  const tbs = encodeTbs(template, leaf);
  return encodeCertificate(template, tbs, sign('sha256', tbs, ISSUER_KEYS.privateKey));
}

test('a leaf is byte for byte what @peculiar/x509 makes of the same fields', async (t) => {
  const signingKey = await webcrypto.subtle.importKey(
    'pkcs8',
    ISSUER_KEYS.privateKey.export({ format: 'der', type: 'pkcs8' }),
    { name: 'ECDSA', namedCurve: 'P-256' },
    false,
    ['sign'],
  );
  await fc.assert(
    fc.asyncProperty(fields, fc.boolean(), async ({ leaf }, isLocated) => {
      const theirs = await X509CertificateGenerator.create(
        {
          serialNumber: toHex(leaf.serial),
          subject: new Name([]),
          issuer: new Name(ISSUER.subject),
          notBefore: leaf.notBefore,
          notAfter: leaf.notAfter,
          publicKey: leaf.spki,
          signingKey,
          signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
          extensions: [
            new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
            new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth, ExtendedKeyUsage.clientAuth]),
            new BasicConstraintsExtension(false, undefined, true),
            new AuthorityKeyIdentifierExtension(toHex(keyIdentifierOf(ISSUER_KEYS))),
            ...(isLocated
              ? [
                  new AuthorityInfoAccessExtension({ caIssuers: LOCATIONS.certificate }),
                  new CRLDistributionPointsExtension([LOCATIONS.crl]),
                ]
              : []),
            new SubjectKeyIdentifierExtension(toHex(leaf.subjectKeyIdentifier)),
            new SubjectAlternativeNameExtension(
              [
                { type: 'url', value: leaf.spiffeId },
                ...leaf.dnsNames.map((value) => ({ type: 'dns', value }) as const),
              ],
              true,
            ),
          ],
        },
        webcrypto,
      );
      const { tbs } = parseCertificate(new Uint8Array(theirs.rawData));
      return toHex(tbs) === toHex(encodeTbs(isLocated ? LOCATED : TEMPLATE, leaf));
    }),
    { numRuns: 60, seed: 20260301 },
  );
  t.pass();
});

test("a leaf reads in Node's and in our own parser as it was meant", async (t) => {
  await fc.assert(
    fc.asyncProperty(fields, async ({ leaf, keys }) => {
      const der = encode(leaf);
      const theirs = new X509Certificate(der);
      t.is(theirs.serialNumber.toLowerCase().padStart(32, '0'), serialHex(leaf.serial));
      t.deepEqual([theirs.validFromDate, theirs.validToDate], [leaf.notBefore, leaf.notAfter]);
      t.is(
        theirs.subjectAltName,
        [`URI:${leaf.spiffeId}`, ...leaf.dnsNames.map((name) => `DNS:${name}`)].join(', '),
      );
      t.deepEqual(theirs.keyUsage, [OID.serverAuth, OID.clientAuth]);
      t.false(theirs.ca);
      t.true(theirs.publicKey.equals(keys.publicKey));
      t.true(theirs.verify(ISSUER_KEYS.publicKey));
      t.true(theirs.checkIssued(new X509Certificate(ISSUER.der)));

      const ours = parseCertificate(der);
      t.is(serialHex(ours.serial), serialHex(leaf.serial));
      t.deepEqual([ours.notBefore, ours.notAfter], [leaf.notBefore, leaf.notAfter]);
      t.deepEqual(ours.subjectAltName, {
        critical: true,
        value: { uris: [leaf.spiffeId], dnsNames: [...leaf.dnsNames], others: 0 },
      });
    }),
    { numRuns: 100, seed: 20260302 },
  );
});

test('OpenSSL prints what a leaf was meant to say', (t) => {
  const [keys] = KEYS;
  if (keys === undefined) throw new Error('no keys');
  const der = encode({
    serial: Buffer.from('00ab00000000000000000000000000cd', 'hex'),
    notBefore: new Date('2049-12-31T23:59:30Z'),
    notAfter: new Date('2050-01-01T00:59:30Z'),
    spki: spkiOf(keys),
    subjectKeyIdentifier: keyIdentifierOf(keys),
    spiffeId: 'spiffe://carnet.test/ns/default/sa/web',
    dnsNames: ['web.internal', 'web'],
  });
  const { stdout, stderr } = openssl(
    [
      ...['x509', '-noout', '-subject', '-issuer', '-serial', '-dates', '-nameopt', 'RFC2253', '-ext'],
      'keyUsage,extendedKeyUsage,basicConstraints,subjectKeyIdentifier,authorityKeyIdentifier,subjectAltName',
    ],
    encodePem('CERTIFICATE', der),
  );
  const colons = (identifier: Uint8Array): string =>
    toHex(identifier).toUpperCase().match(/../g)?.join(':') ?? '';
  t.deepEqual(
    stdout.split('\n').map((line) => line.trim()),
    [
      'subject=',
      'issuer=CN=Carnet issuing CA 01234567',
      'serial=AB00000000000000000000000000CD',
      'notBefore=Dec 31 23:59:30 2049 GMT',
      'notAfter=Jan  1 00:59:30 2050 GMT',
      'X509v3 Key Usage: critical',
      'Digital Signature',
      'X509v3 Extended Key Usage:',
      'TLS Web Server Authentication, TLS Web Client Authentication',
      'X509v3 Basic Constraints: critical',
      'CA:FALSE',
      'X509v3 Authority Key Identifier:',
      colons(keyIdentifierOf(ISSUER_KEYS)),
      'X509v3 Subject Key Identifier:',
      colons(keyIdentifierOf(keys)),
      'X509v3 Subject Alternative Name: critical',
      'URI:spiffe://carnet.test/ns/default/sa/web, DNS:web.internal, DNS:web',
      '',
    ],
    stderr,
  );
});

test('OpenSSL prints where a leaf says that CRL and issuer are', (t) => {
  const [keys] = KEYS;
  if (keys === undefined) throw new Error('no keys');
  const leaf = {
    serial: Buffer.alloc(16, 1),
    notBefore: new Date('2026-03-01T12:00:00Z'),
    notAfter: new Date('2026-03-01T13:00:00Z'),
    spki: spkiOf(keys),
    subjectKeyIdentifier: keyIdentifierOf(keys),
    spiffeId: 'spiffe://carnet.test/web',
    dnsNames: [],
  };
  const { stdout, stderr } = openssl(
    ['x509', '-noout', '-ext', 'authorityInfoAccess,crlDistributionPoints'],
    encodePem('CERTIFICATE', encode(leaf, LOCATED)),
  );
  t.deepEqual(
    stdout.split('\n').map((line) => line.trim()),
    [
      'Authority Information Access:',
      `CA Issuers - URI:${LOCATIONS.certificate}`,
      'X509v3 CRL Distribution Points:',
      'Full Name:',
      `URI:${LOCATIONS.crl}`,
      '',
    ],
    stderr,
  );
});
