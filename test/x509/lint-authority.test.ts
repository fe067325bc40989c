import test from 'ava';
import { CarnetError } from '../../src/errors.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { TAG } from '../../src/x509/der-tag.ts';
import { element, sequence, TRUE } from '../../src/x509/der-writer.ts';
import { KEY_USAGE } from '../../src/x509/key-usage.ts';
import { type ExpectedAuthority, lintAuthority } from '../../src/x509/lint-authority.ts';
import { OID } from '../../src/x509/oid.ts';
import { parsePublicKey } from '../../src/x509/public-key.ts';
import { encodeTime } from '../../src/x509/time.ts';
import {
  authorityKeyIdentifier,
  authorityWith,
  dns,
  ISSUER_KEYS,
  ISSUER_NAME,
  ip,
  keyIdentifierOf,
  keyUsage,
  NOT_AFTER,
  NOT_BEFORE,
  purposes,
  SERIAL,
  SUBJECT_KEYS,
  TRUST_DOMAIN_ID,
  uri,
} from './certificates.ts';
import { generateKeys, spkiOf } from './keys.ts';

const OTHER = generateKeys('ec-p256');

const PARENT = parseCertificate(
  authorityWith({
    subject: ISSUER_NAME,
    spki: spkiOf(ISSUER_KEYS),
    validity: sequence(encodeTime(new Date('2026-01-01')), encodeTime(new Date('2027-01-01'))),
    extensions: {
      subjectKeyIdentifier: [false, element(TAG.octetString, keyIdentifierOf(ISSUER_KEYS))],
    },
  }),
);

const EXPECTED: ExpectedAuthority = {
  serial: SERIAL,
  notBefore: NOT_BEFORE,
  notAfter: NOT_AFTER,
  spki: spkiOf(SUBJECT_KEYS),
  subjectKeyIdentifier: keyIdentifierOf(SUBJECT_KEYS),
  issuer: { certificate: PARENT, publicKey: parsePublicKey(PARENT.spki) },
  spiffeId: TRUST_DOMAIN_ID,
  keyUsage: ['keyCertSign', 'cRLSign'],
  pathLength: 0,
  locations: null,
};

test('lets a good issuing CA through', async (t) => {
  await t.notThrowsAsync(lintAuthority(authorityWith(), EXPECTED));
});

const SIGNS = KEY_USAGE.keyCertSign | KEY_USAGE.cRLSign;
const TWO = Uint8Array.of(2, 1, 2);

const REFUSED: readonly [string, string, Uint8Array][] = [
  ['no subject', 'RFC 5280 §4.1.2.6', authorityWith({ subject: sequence() })],
  ['no names', 'X509-SVID §3.2', authorityWith({ extensions: { subjectAltName: null } })],
  [
    'a SPIFFE ID with a path',
    'X509-SVID §3.2',
    authorityWith({ extensions: { subjectAltName: [false, sequence(uri('spiffe://carnet.test/ca'))] } }),
  ],
  [
    'another trust domain',
    'X509-SVID §3.2',
    authorityWith({ extensions: { subjectAltName: [false, sequence(uri('spiffe://other.test'))] } }),
  ],
  [
    'critical names',
    'X509-SVID §3.2',
    authorityWith({ extensions: { subjectAltName: [true, sequence(uri(TRUST_DOMAIN_ID))] } }),
  ],
  [
    'a DNS name',
    'X509-SVID §3.2',
    authorityWith({
      extensions: { subjectAltName: [false, sequence(uri(TRUST_DOMAIN_ID), dns('ca.test'))] },
    }),
  ],
  [
    'an IP address',
    'X509-SVID §3.2',
    authorityWith({
      extensions: { subjectAltName: [false, sequence(uri(TRUST_DOMAIN_ID), ip(1, 2, 3, 4))] },
    }),
  ],
  ['no basic constraints', 'X509-SVID §4.1', authorityWith({ extensions: { basicConstraints: null } })],
  ['CA false', 'X509-SVID §4.1', authorityWith({ extensions: { basicConstraints: [true, sequence()] } })],
  [
    'basic constraints that are not critical (RFC 5280 §4.2.1.9)',
    'X509-SVID §4.1',
    authorityWith({ extensions: { basicConstraints: [false, sequence(TRUE, Uint8Array.of(2, 1, 0))] } }),
  ],
  [
    'a longer path',
    'X509-SVID §4.1',
    authorityWith({ extensions: { basicConstraints: [true, sequence(TRUE, TWO)] } }),
  ],
  [
    'a path without bound',
    'X509-SVID §4.1',
    authorityWith({ extensions: { basicConstraints: [true, sequence(TRUE)] } }),
  ],
  ['no key usage', 'X509-SVID §4.3', authorityWith({ extensions: { keyUsage: null } })],
  [
    'key usage that is not critical',
    'X509-SVID §4.3',
    authorityWith({ extensions: { keyUsage: keyUsage(SIGNS, false) } }),
  ],
  [
    'no keyCertSign',
    'X509-SVID §4.3',
    authorityWith({ extensions: { keyUsage: keyUsage(KEY_USAGE.cRLSign) } }),
  ],
  [
    'digitalSignature',
    'X509-SVID §4.3',
    authorityWith({ extensions: { keyUsage: keyUsage(SIGNS | KEY_USAGE.digitalSignature) } }),
  ],
  [
    'extended key usage',
    'no extension but',
    authorityWith({ extensions: { extKeyUsage: [false, purposes(OID.serverAuth)] } }),
  ],
  [
    "another parent's key identifier",
    'RFC 5280 §4.2.1.1',
    authorityWith({ extensions: { authorityKeyIdentifier: authorityKeyIdentifier(keyIdentifierOf(OTHER)) } }),
  ],
  [
    'no subject key identifier',
    'RFC 5280 §4.2.1.2',
    authorityWith({ extensions: { subjectKeyIdentifier: null } }),
  ],
  ["another's public key", 'RFC 5280 §4.1.2.7', authorityWith({ spki: spkiOf(OTHER) })],
  ["another's signature", 'RFC 5280 §4.1.1.3', authorityWith({ signingKeys: OTHER })],
];

for (const [what, says, der] of REFUSED)
  test(`refuses a CA certificate with ${what}`, async (t) => {
    const error = await t.throwsAsync(lintAuthority(der, EXPECTED), { instanceOf: CarnetError });
    t.is(error?.code, 'certificate_lint_failed');
    t.true(error?.message.includes(says), error?.message);
  });
