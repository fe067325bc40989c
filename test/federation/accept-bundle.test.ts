import { X509Certificate } from 'node:crypto';
import test from 'ava';
import fc from 'fast-check';
import { acceptBundle, MAX_DOCUMENT_BYTES, trustBundleOf } from '../../src/federation/accept-bundle.ts';
import { createDomain } from './domain.ts';

const [OWN, B, C] = await Promise.all(['own.test', 'b.test', 'c.test'].map(createDomain));
if (OWN === undefined || B === undefined || C === undefined) throw new Error('three domains were asked for');
const TD = B.bundle.trustDomain;

test('takes a bundle as it is, to the letter', (t) => {
  const document = B.document({ sequence: 7, hint: 60 });
  const accepted = acceptBundle(document, TD, OWN.bundle, { sequence: 6n });
  t.like(accepted, { document, sequence: 7n, refreshHintSeconds: 60 });
  const trusted = trustBundleOf(TD, { ...accepted, revision: 5, changedAt: new Date() });
  t.like(trusted, { trustDomain: TD, sequence: 5, crls: [] });
  t.deepEqual(trusted.x509Authorities.map(Buffer.from), B.bundle.x509Authorities.map(Buffer.from));
});

for (const [why, document, live] of [
  ['the same number again', B.document({ sequence: 7 }), { sequence: 7n }],
  ['no number after one', '{"keys": []}', { sequence: 7n }],
  ['a number after none', B.document(), { sequence: null }],
  ['no keys at all: nothing of it is to be trusted (Trust Domain and Bundle §4.1.3)', '{"keys": []}', null],
] as const)
  test(`takes ${why}`, (t) => {
    t.notThrows(() => acceptBundle(document, TD, OWN.bundle, live));
  });

for (const [why, document, code] of [
  ['that is not JSON', '<html>', 'invalid_argument'],
  ['that is JSON, but no bundle', '[]', 'invalid_argument'],
  ['of another trust domain, by its root', C.document(), 'invalid_argument'],
  ['with a root of ours', OWN.document(), 'invalid_argument'],
  [
    'with a root of another trust domain beside its own',
    JSON.stringify({ keys: [B, C].flatMap((one) => JSON.parse(one.document()).keys) }),
    'invalid_argument',
  ],
  ['whose sequence number goes back (SPIFFE Federation §4.2)', B.document({ sequence: 6 }), 'conflict'],
  ['larger than any', `${B.document()}${' '.repeat(MAX_DOCUMENT_BYTES)}`, 'invalid_argument'],
] as const)
  test(`refuses a bundle ${why}`, (t) => {
    t.throws(() => acceptBundle(document, TD, OWN.bundle, { sequence: 7n }), { code });
  });

test('refuses anything as the bundle of our own trust domain', (t) => {
  for (const document of [OWN.document(), B.document(), '{"keys": []}'])
    t.throws(() => acceptBundle(document, OWN.bundle.trustDomain, OWN.bundle, null), {
      code: 'invalid_argument',
    });
});

test('refuses the key of a root of ours in a certificate that names nobody', async (t) => {
  const nameless = { ...OWN.bundle, x509Authorities: B.bundle.x509Authorities };
  t.throws(() => acceptBundle(B.document(), TD, nameless, null), { code: 'invalid_argument' });
});

test('whatever is published is refused with a code, or has roots of its own trust domain alone', (t) => {
  const keys = [OWN, B, C].flatMap((domain) => JSON.parse(domain.document()).keys as object[]);
  const key = fc.oneof(
    fc.constantFrom(...keys),
    fc
      .tuple(
        fc.constantFrom(...keys),
        fc.dictionary(fc.constantFrom('use', 'kty', 'x5c', 'x'), fc.jsonValue()),
      )
      .map(([known, changed]) => ({ ...known, ...changed })),
    fc.jsonValue(),
  );
  const document = fc.record(
    { keys: fc.oneof(fc.array(key, { maxLength: 4 }), fc.jsonValue()), spiffe_sequence: fc.jsonValue() },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(document, (published) => {
      try {
        const accepted = acceptBundle(JSON.stringify(published), TD, OWN.bundle, null);
        const { x509Authorities } = trustBundleOf(TD, { ...accepted, revision: 1, changedAt: new Date() });
        for (const der of x509Authorities)
          t.is(new X509Certificate(der).subjectAltName, `URI:spiffe://${TD}`);
      } catch (error) {
        t.is((error as { code?: string }).code, 'invalid_argument');
      }
    }),
    { numRuns: 500 },
  );
});
