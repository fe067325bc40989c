import test from 'ava';
import type { CreatedAuthority } from '../../src/ca/create-authority.ts';
import { nextCrl } from '../../src/ca/crl.ts';
import { parseSpiffeId } from '../../src/identity/spiffe-id.ts';
import type { TrustBundle } from '../../src/identity/trust-bundle.ts';
import { resourcesOf } from '../../src/sds/resources.ts';
import { createAuthorities } from '../ca/authorities.ts';
import { contextOf as contextIn, pemOf, secretOf } from './decode.ts';
import { bundle, svid, TestHolder } from './holder.ts';

const web = svid();
const api = svid({ identity: parseSpiffeId('spiffe://carnet.local/api') });
const roots = bundle(7);
const holdings = { svids: [web, api], bundle: roots, federated: [], complete: true, problem: null };

for (const [name, expected] of [
  ['default', web.serial],
  ['spiffe://carnet.local/web', web.serial],
  ['spiffe://carnet.local/api', api.serial],
] as const)
  test(`${name} is a certificate with its key, under its serial`, (t) => {
    const resource = resourcesOf(holdings).get(name);
    t.is(resource?.version, expected);
    t.deepEqual(resource?.expiresAt, web.notAfter);
    const secret = secretOf(resource?.encoded);
    t.is(secret.name, name);
    if (secret.type?.$case !== 'tlsCertificate') return t.fail();
    const { certificateChain, privateKey } = secret.type.value;
    const chain = pemOf(certificateChain?.specifier);
    t.regex(chain, /^-----BEGIN CERTIFICATE-----\n[\s\S]*-----END CERTIFICATE-----\n$/);
    t.is(chain.match(/BEGIN CERTIFICATE/g)?.length, 2);
    t.regex(pemOf(privateKey?.specifier), /^-----BEGIN PRIVATE KEY-----\n/);
  });

for (const name of ['ROOTCA', 'spiffe://carnet.local'])
  test(`${name} is the bundle, under its sequence and a digest`, (t) => {
    const resource = resourcesOf(holdings).get(name);
    t.regex(resource?.version ?? '', /^7-[0-9a-f]{12}$/);
    t.is(resource?.expiresAt, null);
    const secret = secretOf(resource?.encoded);
    t.is(secret.name, name);
    if (secret.type?.$case !== 'validationContext') return t.fail();
    t.regex(pemOf(secret.type.value.trustedCa?.specifier), /^-----BEGIN CERTIFICATE-----\n/);
  });

for (const name of ['', 'spiffe://carnet.local/other', 'spiffe://other.td', 'rootca', '*', 'toString'])
  test(`${JSON.stringify(name)} is nothing that this caller may have`, (t) => {
    t.is(resourcesOf(holdings).get(name), undefined);
  });

test('a caller without certificates has no default', (t) => {
  t.is(resourcesOf({ ...holdings, svids: [] }).get('default'), undefined);
});

test('a bundle without roots is withheld: with an empty trusted_ca Envoy would verify nothing', (t) => {
  const empty = resourcesOf({ ...holdings, bundle: bundle(1, { x509Authorities: [] }) });
  t.is(empty.get('ROOTCA'), undefined);
  t.is(empty.get('spiffe://carnet.local'), undefined);
});

test('the bundle carries every CRL under the only label that Envoy reads, and the whole chain is checked', async (t) => {
  const { root, issuing, bundleOf } = await authoritiesWithCrls();
  const context = contextOf(bundleOf([root], [root, issuing]));
  const pem = pemOf(context?.crl?.specifier);
  t.deepEqual(
    [...pem.matchAll(/-----BEGIN ([^-]+)-----/g)].map(([, label]) => label),
    ['X509 CRL', 'X509 CRL'],
  );
  t.false(context?.onlyVerifyLeafCertCrl);
});

test('where a root has no CRL only the leaf is checked, or Envoy would refuse everyone', async (t) => {
  const { root, other, issuing, bundleOf } = await authoritiesWithCrls();
  t.true(contextOf(bundleOf([root], [issuing]))?.onlyVerifyLeafCertCrl);
  t.true(contextOf(bundleOf([root, other], [root, issuing]))?.onlyVerifyLeafCertCrl);
  t.false(contextOf(bundleOf([root, other], [other, root, issuing]))?.onlyVerifyLeafCertCrl);
});

test('a new CRL alone is a new version', async (t) => {
  const { root, issuing, bundleOf } = await authoritiesWithCrls();
  const before = bundleOf([root], [root, issuing]);
  const { crl } = await nextCrl(issuing.signing, issuing.crl, [], Date.now(), 30);
  const after = { ...before, crls: [root.crl.crl, crl] };
  const [old, same, fresh] = [before, { ...before }, after].map(
    (one) => resourcesOf({ ...holdings, bundle: one }).get('ROOTCA')?.version,
  );
  t.is(same, old);
  t.not(fresh, old);
});

test('a bundle in which JWT keys alone changed is the version that proxies have', (t) => {
  const changed = {
    ...roots,
    sequence: 8,
    jwtAuthorities: [{ keyId: 'jwt-1', publicKey: new Uint8Array([1]) }],
  };
  const [before, after] = [roots, changed].map((one) =>
    resourcesOf({ ...holdings, bundle: one }).get('ROOTCA'),
  );
  t.is(after?.version, before?.version);
  t.deepEqual(after?.encoded, before?.encoded);
});

test('without any CRL none is checked', (t) => {
  const context = contextOf(roots);
  t.is(context?.crl, undefined);
  t.false(context?.onlyVerifyLeafCertCrl);
});

test('a bundle is encoded once for all who share it, and a certificate once', (t) => {
  const one = new TestHolder({ svids: [web], bundle: roots });
  const other = new TestHolder({ svids: [web, api], bundle: roots });
  for (const name of ['ROOTCA', 'default'])
    t.is(resourcesOf(one.current()).get(name), resourcesOf(other.current()).get(name));
});

test('the same bundle has the same version in another process; other roots or another sequence do not', (t) => {
  const versionOf = (changed: object): string | undefined =>
    resourcesOf({ ...holdings, bundle: { ...roots, ...changed } }).get('ROOTCA')?.version;
  const copies = roots.x509Authorities.map((der) => Uint8Array.from(der));
  t.is(versionOf({ x509Authorities: copies }), resourcesOf(holdings).get('ROOTCA')?.version);
  t.not(versionOf({ x509Sequence: 8 }), versionOf({}));
  t.not(versionOf({ x509Authorities: [...copies, ...bundle(1).x509Authorities] }), versionOf({}));
});

/** Two roots, and an issuing CA of the first, each with its first CRL. */
async function authoritiesWithCrls() {
  const withCrl = async ({ signing }: CreatedAuthority) => ({
    signing,
    crl: await nextCrl(signing, null, [], Date.now(), 30),
  });
  const [first, second] = [await createAuthorities('ec-p256'), await createAuthorities('ec-p256')];
  const [root, other, issuing] = [
    await withCrl(first.root),
    await withCrl(second.root),
    await withCrl(first.issuing),
  ];
  type One = typeof root;
  const bundleOf = (trusted: readonly One[], revoking: readonly One[]) =>
    bundle(7, {
      x509Authorities: trusted.map(({ signing }) => signing.certificate),
      crls: revoking.map(({ crl }) => crl.crl),
    });
  return { root, other, issuing, bundleOf };
}

function contextOf(trusted: TrustBundle) {
  return contextIn(resourcesOf({ ...holdings, bundle: trusted }).get('ROOTCA')?.encoded);
}
