import { createHash, X509Certificate } from 'node:crypto';
import test from 'ava';
import { authorityIssuance } from '../../src/ca/authority-issuance.ts';
import { createIssuing, createRoot } from '../../src/ca/create-authority.ts';
import { openAuthority } from '../../src/ca/open-authority.ts';
import { KEY_ALGORITHMS } from '../../src/ca/signer.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { toHex } from '../../src/x509/bytes.ts';
import { parseCertificate } from '../../src/x509/certificate.ts';
import { authorityRequest, createAuthorities, DAY_SECONDS, KEYS } from './authorities.ts';

const NOW = Date.parse('2026-03-01T12:00:00.500Z');

for (const algorithm of KEY_ALGORITHMS)
  test(`a root and an issuing CA of ${algorithm} chain, for Node too`, async (t) => {
    const { root, issuing } = await createAuthorities(algorithm);
    const [rootCertificate, issuingCertificate] = [root, issuing].map(
      ({ stored }) => new X509Certificate(stored.certificate),
    );
    if (rootCertificate === undefined || issuingCertificate === undefined) return t.fail();
    t.true(rootCertificate.ca && rootCertificate.verify(rootCertificate.publicKey));
    t.true(issuingCertificate.ca && issuingCertificate.verify(rootCertificate.publicKey));
    t.true(issuingCertificate.checkIssued(rootCertificate));
    t.is(issuing.signing.signer.algorithm, algorithm);
    t.is(issuing.stored.keyAlgorithm, algorithm);
  });

test('says what the profiles say and nothing else', async (t) => {
  const { root, issuing } = await createAuthorities('ec-p256', NOW);
  const [rootFields, issuingFields] = [root, issuing].map(({ stored }) =>
    parseCertificate(stored.certificate),
  );
  const names = { uris: ['spiffe://carnet.test'], dnsNames: [], others: 0 };
  const extensions = ['2.5.29.19', '2.5.29.15', '2.5.29.14', '2.5.29.35', '2.5.29.17'];
  const common = {
    extensions,
    keyUsage: { critical: true, value: (1 << 5) | (1 << 6) },
    subjectAltName: { critical: false, value: names },
    notBefore: new Date('2026-03-01T11:59:30Z'),
  };
  t.like(rootFields, {
    ...common,
    basicConstraints: { critical: true, value: { ca: true, pathLength: null } },
    notAfter: new Date('2027-03-01T12:00:00Z'),
  });
  t.like(issuingFields, {
    ...common,
    basicConstraints: { critical: true, value: { ca: true, pathLength: 0 } },
    notAfter: new Date('2026-03-08T12:00:00Z'),
  });
  t.deepEqual(issuingFields?.issuer, rootFields?.subject);
  t.deepEqual(issuingFields?.authorityKeyIdentifier, rootFields?.subjectKeyIdentifier);
});

test('its ID and its subject come from its key', async (t) => {
  const { root, issuing } = await createAuthorities('ec-p256');
  for (const { stored } of [root, issuing]) {
    const { subjectKeyIdentifier } = parseCertificate(stored.certificate);
    const keyName = toHex(subjectKeyIdentifier?.value ?? new Uint8Array()).slice(0, 8);
    t.is(stored.id, `${stored.kind}-${keyName}`);
    const title = stored.kind === 'root' ? 'Carnet root' : 'Carnet issuing CA';
    t.is(new X509Certificate(stored.certificate).subject, `O=carnet.test\nCN=${title} ${keyName}`);
  }
  t.is(root.stored.parentId, root.stored.id);
  t.is(issuing.stored.parentId, root.stored.id);
  t.deepEqual(root.signing.chain, []);
  t.deepEqual(issuing.signing.chain, [issuing.stored.certificate]);
});

test('a trust domain longer than an organization name may be is cut in the subject alone (RFC 5280 appendix A.1)', async (t) => {
  const trustDomain = parseTrustDomain(`${'a'.repeat(60)}_${'b'.repeat(60)}.test`);
  const { stored } = await createRoot(authorityRequest({ trustDomain }), KEYS);
  const certificate = new X509Certificate(stored.certificate);
  t.true(certificate.subject.startsWith(`O=${trustDomain.slice(0, 64)}\n`));
  t.is(certificate.subjectAltName, `URI:spiffe://${trustDomain}`);
});

test('an issuing CA never outlives its root', async (t) => {
  const root = await createRoot(authorityRequest({ now: NOW, ttlSeconds: DAY_SECONDS }), KEYS);
  const issuing = await createIssuing(
    root.signing,
    authorityRequest({ now: NOW, ttlSeconds: 7 * DAY_SECONDS }),
    KEYS,
  );
  t.deepEqual(issuing.stored.notAfter, root.stored.notAfter);
  t.deepEqual(parseCertificate(issuing.stored.certificate).notAfter, root.stored.notAfter);
});

test('nothing is made under a root that has ended, or has not begun', async (t) => {
  const root = await createRoot(authorityRequest({ now: NOW, ttlSeconds: DAY_SECONDS }), KEYS);
  for (const now of [NOW + 2 * DAY_SECONDS * 1000, NOW - DAY_SECONDS * 1000])
    t.like(await t.throwsAsync(createIssuing(root.signing, authorityRequest({ now }), KEYS)), {
      code: 'authority_unavailable',
    });
});

test('an issuing CA signs no issuing CA', async (t) => {
  const { issuing } = await createAuthorities('ec-p256');
  t.like(await t.throwsAsync(createIssuing(issuing.signing, authorityRequest(), KEYS)), {
    code: 'invalid_argument',
  });
});

test('a root whose key is not its certificate’s makes nothing', async (t) => {
  const [one, two] = await Promise.all([createAuthorities('ec-p256'), createAuthorities('ec-p256')]);
  const mixed = { ...one.root.signing, signer: two.root.signing.signer };
  t.like(await t.throwsAsync(createIssuing(mixed, authorityRequest(), KEYS)), {
    code: 'certificate_lint_failed',
  });
});

test('what is stored opens again, and signs as before', async (t) => {
  const { root, issuing } = await createAuthorities('ec-p256');
  for (const { stored, signing } of [root, issuing]) {
    const opened = openAuthority(stored, KEYS);
    t.deepEqual(opened.chain, signing.chain);
    t.deepEqual(opened.signer.publicKey, signing.signer.publicKey);
  }
  const again = openAuthority(root.stored, KEYS);
  await t.notThrowsAsync(createIssuing(again, authorityRequest(), KEYS));
});

test('does not open with another authority’s key, nor without one', async (t) => {
  const { root, issuing } = await createAuthorities('ec-p256');
  const { stored } = issuing;
  const { sealedKey } = root.stored;
  t.like(
    t.throws(() => openAuthority({ ...stored, sealedKey }, KEYS)),
    { code: 'key_unseal_failed' },
  );
  t.like(
    t.throws(() => openAuthority({ ...stored, certificate: root.stored.certificate }, KEYS)),
    { code: 'key_unseal_failed' },
  );
  t.like(
    t.throws(() => openAuthority({ ...stored, sealedKey: null }, KEYS)),
    { code: 'authority_unavailable' },
  );
});

test('its private key stands nowhere in what is stored', async (t) => {
  const { stored, signing } = await createRoot(authorityRequest(), KEYS);
  t.false(JSON.stringify(signing).includes('PRIVATE'));
  const sealed = Buffer.from(stored.sealedKey ?? []);
  // The private key's PKCS#8 begins with its algorithm, which is known.
  t.false(sealed.includes(Buffer.from('2a8648ce3d030107', 'hex')));
});

test('is recorded like every certificate', async (t) => {
  const { root, issuing } = await createAuthorities('ec-p256');
  const issuance = authorityIssuance(issuing.signing, 'schedule:issuing-ca');
  const certificate = new X509Certificate(issuing.stored.certificate);
  t.is(issuance.serial, certificate.serialNumber.toLowerCase().padStart(32, '0'));
  t.like(issuance, {
    profile: 'issuing-ca',
    identity: 'spiffe://carnet.test',
    authority: root.stored.id,
    requester: 'schedule:issuing-ca',
    node: null,
    instance: null,
    entryId: null,
  });
  t.deepEqual(
    Buffer.from(issuance.certificateSha256),
    createHash('sha256').update(issuing.stored.certificate).digest(),
  );
  t.is(authorityIssuance(root.signing, 'server:first start').profile, 'root-ca');
  t.is(authorityIssuance(root.signing, 'server:first start').authority, root.stored.id);
});
