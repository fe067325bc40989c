import test from 'ava';
import { CarnetError } from '../../src/errors.ts';
import { concatBytes } from '../../src/x509/bytes.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { TAG } from '../../src/x509/der-tag.ts';
import {
  asciiString,
  element,
  explicit,
  NULL,
  octetString,
  sequence,
  TRUE,
  unsignedInteger,
} from '../../src/x509/der-writer.ts';
import { KEY_USAGE } from '../../src/x509/key-usage.ts';
import { type ExpectedLeaf, lintLeaf } from '../../src/x509/lint-leaf.ts';
import { OID } from '../../src/x509/oid.ts';
import { parsePublicKey } from '../../src/x509/public-key.ts';
import { SIGNATURE_ALGORITHMS } from '../../src/x509/signature-algorithm.ts';
import { encodeTime } from '../../src/x509/time.ts';
import {
  authorityKeyIdentifier,
  authorityWith,
  dns,
  encodeExtension,
  ISSUER_KEYS,
  ISSUER_NAME,
  ip,
  keyIdentifierOf,
  keyUsage,
  LEAF_EXTENSIONS,
  leafWith,
  NOT_AFTER,
  NOT_BEFORE,
  name,
  purposes,
  SERIAL,
  SPIFFE_ID,
  SUBJECT_KEYS,
  uri,
} from './certificates.ts';
import { generateKeys, spkiOf } from './keys.ts';

const OTHER = generateKeys('ec-p256');

const ISSUER = parseCertificate(
  authorityWith({
    subject: ISSUER_NAME,
    spki: spkiOf(ISSUER_KEYS),
    validity: sequence(encodeTime(new Date('2026-01-01')), encodeTime(new Date('2027-01-01'))),
    extensions: {
      subjectKeyIdentifier: [false, element(TAG.octetString, keyIdentifierOf(ISSUER_KEYS))],
    },
  }),
);

const EXPECTED: ExpectedLeaf = {
  serial: SERIAL,
  notBefore: NOT_BEFORE,
  notAfter: NOT_AFTER,
  spki: spkiOf(SUBJECT_KEYS),
  subjectKeyIdentifier: keyIdentifierOf(SUBJECT_KEYS),
  issuer: { certificate: ISSUER, publicKey: parsePublicKey(ISSUER.spki) },
  spiffeId: SPIFFE_ID,
  dnsNames: ['web.internal'],
  locations: null,
};

test('lets a good leaf through', async (t) => {
  const leaf = await lintLeaf(leafWith(), EXPECTED);
  t.deepEqual(leaf.subjectAltName?.value.uris, [SPIFFE_ID]);
});

test('lets a leaf with a subject through if its names are not critical (X509-SVID §3.1)', async (t) => {
  const subjectAltName = [false, sequence(uri(SPIFFE_ID), dns('web.internal'))] as const;
  await t.notThrowsAsync(
    lintLeaf(leafWith({ subject: name('web'), extensions: { subjectAltName } }), EXPECTED),
  );
});

function names(...values: Uint8Array[]) {
  return { extensions: { subjectAltName: [true, sequence(...values)] as const } };
}

function times(notBefore: string, notAfter: string) {
  return { validity: sequence(encodeTime(new Date(notBefore)), encodeTime(new Date(notAfter))) };
}

const CRITICAL_VALUE = (id: keyof typeof LEAF_EXTENSIONS, critical: boolean) => ({
  extensions: { [id]: [critical, LEAF_EXTENSIONS[id]?.[1] ?? new Uint8Array()] as const },
});

/** What is wrong, what the lint says of it, the certificate, and what was expected where that is the mistake. */
const REFUSED: readonly [string, string, Uint8Array, Partial<ExpectedLeaf>?][] = [
  [
    'two URI names',
    'X509-SVID §2',
    leafWith(names(uri(SPIFFE_ID), uri('spiffe://carnet.test/other'), dns('web.internal'))),
  ],
  [
    'its URI name twice',
    'X509-SVID §2',
    leafWith(names(uri(SPIFFE_ID), uri(SPIFFE_ID), dns('web.internal'))),
  ],
  ['no URI name', 'X509-SVID §2', leafWith(names(dns('web.internal')))],
  [
    "another's SPIFFE ID",
    'X509-SVID §2',
    leafWith(names(uri('spiffe://carnet.test/ns/default/sa/db'), dns('web.internal'))),
  ],
  ['no alternative names', 'X509-SVID §2', leafWith({ extensions: { subjectAltName: null } })],
  [
    "a trust domain's own ID",
    'X509-SVID §3.1',
    leafWith(names(uri('spiffe://carnet.test'), dns('web.internal'))),
    { spiffeId: 'spiffe://carnet.test' },
  ],
  [
    'a SPIFFE ID with an empty path',
    'X509-SVID §3.1',
    leafWith(names(uri('spiffe://carnet.test/'), dns('web.internal'))),
    { spiffeId: 'spiffe://carnet.test/' },
  ],
  [
    'a URI of another scheme',
    'X509-SVID §3.1',
    leafWith(names(uri('https://carnet.test/web'), dns('web.internal'))),
    { spiffeId: 'https://carnet.test/web' },
  ],
  [
    'a SPIFFE ID of another trust domain',
    'X509-SVID §3.2',
    leafWith(names(uri('spiffe://other.test/web'), dns('web.internal'))),
    { spiffeId: 'spiffe://other.test/web' },
  ],
  [
    'a SPIFFE ID of a trust domain that begins with ours',
    'X509-SVID §3.2',
    leafWith(names(uri('spiffe://carnet.test.other/web'), dns('web.internal'))),
    { spiffeId: 'spiffe://carnet.test.other/web' },
  ],
  [
    'names that are not critical beside an empty subject',
    'RFC 5280 §4.2.1.6: the alternative',
    leafWith(CRITICAL_VALUE('subjectAltName', false)),
  ],
  [
    'names that are critical beside a subject',
    'RFC 5280 §4.2.1.6: the alternative',
    leafWith({ subject: name('web') }),
  ],
  [
    'a DNS name that was not granted',
    'the granted ones',
    leafWith(names(uri(SPIFFE_ID), dns('web.internal'), dns('db.internal'))),
  ],
  ['a DNS name missing', 'the granted ones', leafWith(names(uri(SPIFFE_ID)))],
  ['another DNS name', 'the granted ones', leafWith(names(uri(SPIFFE_ID), dns('db.internal')))],
  [
    'an IP address',
    'the granted ones',
    leafWith(names(uri(SPIFFE_ID), dns('web.internal'), ip(127, 0, 0, 1))),
  ],
  [
    'a DNS name with an underscore',
    'RFC 5280 §4.2.1.6: DNS',
    leafWith(names(uri(SPIFFE_ID), dns('web_1.internal'))),
    { dnsNames: ['web_1.internal'] },
  ],
  [
    'a wildcard',
    'RFC 5280 §4.2.1.6: DNS',
    leafWith(names(uri(SPIFFE_ID), dns('*.internal'))),
    { dnsNames: ['*.internal'] },
  ],
  [
    'a DNS name that is a blank',
    'RFC 5280 §4.2.1.6: DNS',
    leafWith(names(uri(SPIFFE_ID), dns(' '))),
    { dnsNames: [' '] },
  ],
  [
    'key usage that is not critical',
    'X509-SVID §4.3',
    leafWith({ extensions: { keyUsage: keyUsage(KEY_USAGE.digitalSignature, false) } }),
  ],
  ['no key usage', 'X509-SVID §4.3', leafWith({ extensions: { keyUsage: null } })],
  [
    'keyCertSign',
    'X509-SVID §4.3',
    leafWith({ extensions: { keyUsage: keyUsage(KEY_USAGE.digitalSignature | KEY_USAGE.keyCertSign) } }),
  ],
  [
    'cRLSign',
    'X509-SVID §4.3',
    leafWith({ extensions: { keyUsage: keyUsage(KEY_USAGE.digitalSignature | KEY_USAGE.cRLSign) } }),
  ],
  [
    'no digitalSignature',
    'X509-SVID §4.3',
    leafWith({ extensions: { keyUsage: keyUsage(KEY_USAGE.keyAgreement) } }),
  ],
  [
    'a key usage that the profile does not have',
    'X509-SVID §4.3',
    leafWith({ extensions: { keyUsage: keyUsage(KEY_USAGE.digitalSignature | KEY_USAGE.keyEncipherment) } }),
  ],
  ['no extended key usage', 'X509-SVID §4.4', leafWith({ extensions: { extKeyUsage: null } })],
  [
    'no clientAuth',
    'X509-SVID §4.4',
    leafWith({ extensions: { extKeyUsage: [false, purposes(OID.serverAuth)] } }),
  ],
  [
    'no serverAuth',
    'X509-SVID §4.4',
    leafWith({ extensions: { extKeyUsage: [false, purposes(OID.clientAuth)] } }),
  ],
  [
    'anyExtendedKeyUsage too',
    'X509-SVID §4.4',
    leafWith({
      extensions: { extKeyUsage: [false, purposes(OID.serverAuth, OID.clientAuth, '2.5.29.37.0')] },
    }),
  ],
  ['CA true', 'X509-SVID §4.1', leafWith({ extensions: { basicConstraints: [true, sequence(TRUE)] } })],
  [
    'a path length',
    'X509-SVID §4.1',
    leafWith({ extensions: { basicConstraints: [true, sequence(Uint8Array.of(2, 1, 0))] } }),
  ],
  [
    'basic constraints that are not critical',
    'X509-SVID §4.1',
    leafWith(CRITICAL_VALUE('basicConstraints', false)),
  ],
  ['no basic constraints', 'X509-SVID §4.1', leafWith({ extensions: { basicConstraints: null } })],
  [
    "another authority's key identifier",
    'RFC 5280 §4.2.1.1',
    leafWith({ extensions: { authorityKeyIdentifier: authorityKeyIdentifier(keyIdentifierOf(OTHER)) } }),
  ],
  [
    'no authority key identifier',
    'RFC 5280 §4.2.1.1',
    leafWith({ extensions: { authorityKeyIdentifier: null } }),
  ],
  [
    'an authority key identifier without an identifier',
    'RFC 5280 §4.2.1.1',
    leafWith({ extensions: { authorityKeyIdentifier: [false, sequence()] } }),
  ],
  [
    'a critical authority key identifier',
    'RFC 5280 §4.2.1.1',
    leafWith(CRITICAL_VALUE('authorityKeyIdentifier', true)),
  ],
  [
    "another key's identifier",
    'RFC 5280 §4.2.1.2',
    leafWith({
      extensions: { subjectKeyIdentifier: [false, element(TAG.octetString, keyIdentifierOf(OTHER))] },
    }),
  ],
  [
    'no subject key identifier',
    'RFC 5280 §4.2.1.2',
    leafWith({ extensions: { subjectKeyIdentifier: null } }),
  ],
  [
    'a critical subject key identifier',
    'RFC 5280 §4.2.1.2',
    leafWith(CRITICAL_VALUE('subjectKeyIdentifier', true)),
  ],
  [
    'an extension twice',
    'RFC 5280 §4.2: no extension',
    leafWith({ moreExtensions: encodeExtension('keyUsage', keyUsage(KEY_USAGE.digitalSignature)) }),
  ],
  [
    'an extension that no SVID has',
    'no extension but',
    leafWith({ extensions: { '2.5.29.32': [false, sequence()] } }),
  ],
  [
    'serial 0',
    'RFC 5280 §4.1.2.2',
    leafWith({ serial: unsignedInteger(new Uint8Array(1)) }),
    { serial: new Uint8Array(1) },
  ],
  ['a negative serial', 'RFC 5280 §4.1.2.2', leafWith({ serial: element(TAG.integer, SERIAL) })],
  [
    'a serial of 21 octets',
    'RFC 5280 §4.1.2.2',
    leafWith({ serial: unsignedInteger(Buffer.alloc(21, 1)) }),
    { serial: Buffer.alloc(21, 1) },
  ],
  [
    'another serial',
    'the serial is the random number',
    leafWith({ serial: unsignedInteger(Buffer.alloc(16, 1)) }),
  ],
  [
    'different signature algorithms within and beside',
    'RFC 5280 §4.1.1.2',
    leafWith({ innerAlgorithm: SIGNATURE_ALGORITHMS.ecdsaWithSha512.der }),
  ],
  ["another issuer's name", 'RFC 5280 §4.1.2.4', leafWith({ issuer: name('Carnet issuing CA 00000000') })],
  [
    "the issuer's name in another encoding",
    'RFC 5280 §4.1.2.4',
    leafWith({
      issuer: Buffer.from(Buffer.from(ISSUER_NAME).toString('hex').replace('131a', '0c1a'), 'hex'),
    }),
  ],
  [
    'a later end than decided',
    'RFC 5280 §4.1.2.5',
    leafWith(times('2026-03-01T12:00:00Z', '2026-03-01T13:00:01Z')),
  ],
  [
    'an earlier beginning than decided',
    'RFC 5280 §4.1.2.5',
    leafWith(times('2026-03-01T11:59:59Z', '2026-03-01T13:00:00Z')),
  ],
  [
    'an end before its beginning',
    'RFC 5280 §4.1.2.5',
    leafWith(times('2026-03-01T13:00:00Z', '2026-03-01T12:00:00Z')),
    { notBefore: NOT_AFTER, notAfter: NOT_BEFORE },
  ],
  [
    'an end after its issuer',
    "within the issuer's",
    leafWith(times('2026-03-01T12:00:00Z', '2027-01-01T00:00:01Z')),
    { notAfter: new Date('2027-01-01T00:00:01Z') },
  ],
  [
    'a beginning before its issuer',
    "within the issuer's",
    leafWith(times('2025-12-31T23:59:59Z', '2026-03-01T13:00:00Z')),
    { notBefore: new Date('2025-12-31T23:59:59Z') },
  ],
  ["another's public key", 'RFC 5280 §4.1.2.7', leafWith({ spki: spkiOf(OTHER) })],
  ["another's signature", 'RFC 5280 §4.1.1.3', leafWith({ signingKeys: OTHER })],
  [
    'a signature algorithm that we do not make',
    'RFC 5280 §4.1.1.3',
    leafWith({ innerAlgorithm: sequence(NULL), outerAlgorithm: sequence(NULL) }),
  ],
];

for (const [what, says, der, expected] of REFUSED)
  test(`refuses a leaf with ${what}`, async (t) => {
    const error = await t.throwsAsync(lintLeaf(der, { ...EXPECTED, ...expected }), {
      instanceOf: CarnetError,
    });
    t.is(error?.code, 'certificate_lint_failed');
    t.true(error?.message.includes(says), error?.message);
  });

const [, sanValue] = LEAF_EXTENSIONS.subjectAltName ?? [true, new Uint8Array()];

const UNREADABLE: readonly [string, Uint8Array][] = [
  ['version 1', leafWith({ version: new Uint8Array() })],
  ['version 2', leafWith({ version: explicit(0, Uint8Array.of(2, 1, 1)) })],
  [
    'a fraction of a second',
    leafWith({ validity: sequence(asciiString(TAG.utcTime, '2603011200Z'), encodeTime(NOT_AFTER)) }),
  ],
  [
    'GeneralizedTime before 2050',
    leafWith({
      validity: sequence(asciiString(TAG.generalizedTime, '20260301120000Z'), encodeTime(NOT_AFTER)),
    }),
  ],
  ['a name that is not ASCII', leafWith(names(element(0x86, Buffer.from('spiffe://carnet.test/é'))))],
  [
    'an extension that says FALSE for critical',
    leafWith({
      moreExtensions: sequence(
        Buffer.from('0603551d25', 'hex'),
        Uint8Array.of(1, 1, 0),
        octetString(purposes(OID.serverAuth)),
      ),
    }),
  ],
  [
    'CA FALSE said aloud',
    leafWith({ extensions: { basicConstraints: [true, sequence(Uint8Array.of(1, 1, 0))] } }),
  ],
  [
    'something behind an extension',
    leafWith({ extensions: { subjectAltName: [true, concatBytes(sanValue, NULL)] } }),
  ],
  ['something behind the certificate', concatBytes(leafWith(), NULL)],
];

for (const [what, der] of UNREADABLE)
  test(`refuses a leaf that cannot be parsed: ${what}`, async (t) => {
    t.like(await t.throwsAsync(lintLeaf(der, EXPECTED), { instanceOf: CarnetError }), {
      code: 'certificate_lint_failed',
    });
  });

test('names every rule that is broken, not only the first', async (t) => {
  const der = leafWith({ signingKeys: OTHER, extensions: { keyUsage: null, extKeyUsage: null } });
  const error = await t.throwsAsync(lintLeaf(der, EXPECTED));
  for (const says of ['X509-SVID §4.3', 'X509-SVID §4.4', 'RFC 5280 §4.1.1.3'])
    t.true(error?.message.includes(says));
});

test('refuses a leaf with any one bit flipped', async (t) => {
  const good = leafWith();
  for (let bit = 0; bit < good.length * 8; bit += 5) {
    const der = Buffer.from(good);
    der[bit >> 3] = (der[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    t.like(await t.throwsAsync(lintLeaf(der, EXPECTED)), { code: 'certificate_lint_failed' }, `bit ${bit}`);
  }
});
