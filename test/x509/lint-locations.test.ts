import test from 'ava';
import { concatBytes } from '../../src/x509/bytes.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { contextConstructed, contextPrimitive, TAG } from '../../src/x509/der-tag.ts';
import { element, NULL, sequence } from '../../src/x509/der-writer.ts';
import { type ExpectedAuthority, lintAuthority } from '../../src/x509/lint-authority.ts';
import { type ExpectedLeaf, lintLeaf } from '../../src/x509/lint-leaf.ts';
import { OID } from '../../src/x509/oid.ts';
import { parsePublicKey } from '../../src/x509/public-key.ts';
import { encodeTime } from '../../src/x509/time.ts';
import {
  accessDescription,
  authorityWith,
  distributionPoint,
  dns,
  type Extensions,
  ISSUER_KEYS,
  ISSUER_NAME,
  keyIdentifierOf,
  leafWith,
  NOT_AFTER,
  NOT_BEFORE,
  SERIAL,
  SPIFFE_ID,
  SUBJECT_KEYS,
  TRUST_DOMAIN_ID,
  uri,
} from './certificates.ts';
import { spkiOf } from './keys.ts';

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

const LOCATIONS = {
  certificate: 'http://ca.test/ca/issuing-01234567.cer',
  crl: 'http://ca.test/crl/issuing-01234567.crl',
};

const COMMON = {
  serial: SERIAL,
  notBefore: NOT_BEFORE,
  notAfter: NOT_AFTER,
  spki: spkiOf(SUBJECT_KEYS),
  subjectKeyIdentifier: keyIdentifierOf(SUBJECT_KEYS),
  issuer: { certificate: ISSUER, publicKey: parsePublicKey(ISSUER.spki) },
  locations: LOCATIONS,
};
const LEAF: ExpectedLeaf = { ...COMMON, spiffeId: SPIFFE_ID, dnsNames: ['web.internal'] };
const AUTHORITY: ExpectedAuthority = {
  ...COMMON,
  spiffeId: TRUST_DOMAIN_ID,
  keyUsage: ['keyCertSign', 'cRLSign'],
  pathLength: 0,
};

const GOOD: Extensions = {
  authorityInfoAccess: [false, accessDescription(OID.caIssuers, uri(LOCATIONS.certificate))],
  crlDistributionPoints: [false, distributionPoint([uri(LOCATIONS.crl)])],
};

const OCSP = '1.3.6.1.5.5.7.48.1';
const AIA = 'RFC 5280 §4.2.2.1';
const CDP = 'RFC 5280 §4.2.1.13';

const REFUSED: readonly [what: string, says: string, Extensions][] = [
  ['no authority information access', AIA, { ...GOOD, authorityInfoAccess: null }],
  ['no CRL distribution points', CDP, { ...GOOD, crlDistributionPoints: null }],
  [
    "another CA's certificate",
    AIA,
    {
      ...GOOD,
      authorityInfoAccess: [false, accessDescription(OID.caIssuers, uri('http://ca.test/ca/other.cer'))],
    },
  ],
  [
    "another CA's CRL",
    CDP,
    { ...GOOD, crlDistributionPoints: [false, distributionPoint([uri('http://ca.test/crl/other.crl')])] },
  ],
  [
    'a responder that we do not have',
    AIA,
    { ...GOOD, authorityInfoAccess: [false, accessDescription(OCSP, uri(LOCATIONS.certificate))] },
  ],
  [
    'a name for a URL',
    AIA,
    { ...GOOD, authorityInfoAccess: [false, accessDescription(OID.caIssuers, dns('ca.test'))] },
  ],
  [
    'a second place for the CRL',
    CDP,
    {
      ...GOOD,
      crlDistributionPoints: [false, distributionPoint([uri(LOCATIONS.crl), uri('http://x.test')])],
    },
  ],
  [
    'a CRL for some reasons only',
    CDP,
    {
      ...GOOD,
      crlDistributionPoints: [
        false,
        distributionPoint([uri(LOCATIONS.crl)], element(contextPrimitive(1), Uint8Array.of(6, 0x40))),
      ],
    },
  ],
  [
    "another issuer's CRL",
    CDP,
    {
      ...GOOD,
      crlDistributionPoints: [
        false,
        distributionPoint([uri(LOCATIONS.crl)], element(contextConstructed(2), dns('ca.test'))),
      ],
    },
  ],
  [
    'a critical authority information access',
    AIA,
    { ...GOOD, authorityInfoAccess: [true, accessDescription(OID.caIssuers, uri(LOCATIONS.certificate))] },
  ],
  [
    'critical CRL distribution points',
    CDP,
    { ...GOOD, crlDistributionPoints: [true, distributionPoint([uri(LOCATIONS.crl)])] },
  ],
];

test('lets certificates through that say where CRL and issuer are, as their profile does', async (t) => {
  await t.notThrowsAsync(lintLeaf(leafWith({ extensions: GOOD }), LEAF));
  await t.notThrowsAsync(lintAuthority(authorityWith({ extensions: GOOD }), AUTHORITY));
});

for (const [what, says, extensions] of REFUSED)
  test(`refuses ${what} in leaf and CA`, async (t) => {
    for (const linting of [
      lintLeaf(leafWith({ extensions }), LEAF),
      lintAuthority(authorityWith({ extensions }), AUTHORITY),
    ]) {
      const error = await t.throwsAsync(linting, { code: 'certificate_lint_failed' });
      t.true(error?.message.includes(says), error?.message);
    }
  });

test('refuses both extensions where the profile has none', async (t) => {
  const none = { locations: null };
  for (const linting of [
    lintLeaf(leafWith({ extensions: GOOD }), { ...LEAF, ...none }),
    lintAuthority(authorityWith({ extensions: GOOD }), { ...AUTHORITY, ...none }),
  ]) {
    const error = await t.throwsAsync(linting, { code: 'certificate_lint_failed' });
    for (const says of [AIA, CDP]) t.true(error?.message.includes(says), error?.message);
  }
});

const [, aia = new Uint8Array()] = GOOD.authorityInfoAccess ?? [];
for (const [what, authorityInfoAccess] of [
  ['something behind it', concatBytes(aia, NULL)],
  ['something behind a description', sequence(sequence(NULL))],
  ['no list', NULL],
] as const)
  test(`an authority information access with ${what} is not read`, (t) => {
    const der = leafWith({ extensions: { ...GOOD, authorityInfoAccess: [false, authorityInfoAccess] } });
    t.throws(() => parseCertificate(der), { code: 'der_malformed' });
  });

test("reads what an outside CA's certificate may say besides: relative names, other purposes", (t) => {
  const relative = sequence(sequence(element(contextConstructed(0), element(contextConstructed(1), NULL))));
  const { crlDistributionPoints, authorityInfoAccess } = parseCertificate(
    authorityWith({
      extensions: {
        authorityInfoAccess: [false, accessDescription(OCSP, uri('http://ocsp.test'))],
        crlDistributionPoints: [false, relative],
      },
    }),
  );
  t.deepEqual(crlDistributionPoints?.value, { uris: [], others: 1 });
  t.deepEqual(authorityInfoAccess?.value, { uris: [], others: 1 });
});
