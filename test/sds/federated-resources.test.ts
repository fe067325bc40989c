import { randomBytes } from 'node:crypto';
import test from 'ava';
import { nextCrl } from '../../src/ca/crl.ts';
import { SPIFFECertValidatorConfig } from '../../src/gen/envoy/extensions/transport_sockets/tls/v3/tls_spiffe_validator_config.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import type { TrustBundle } from '../../src/identity/trust-bundle.ts';
import { resourcesOf } from '../../src/sds/resources.ts';
import { createAuthorities } from '../ca/authorities.ts';
import { contextOf, pemOf } from './decode.ts';
import { bundle, svid } from './holder.ts';

const OWN = bundle(7);
const B = foreign('b.test', 3);
const C = foreign('c.test', 4);

test('a trust domain that the caller federates with is a context of its own, for that domain alone', (t) => {
  const resource = find([B, C], 'spiffe://b.test');
  t.deepEqual(domainsOf(resource?.encoded), ['b.test']);
  t.is(resource?.expiresAt, null);
  const context = contextOf(resource?.encoded);
  t.is(context?.trustedCa, undefined, 'a plain trusted CA would vouch for every name');
});

test('the version of a foreign bundle is none of our own', (t) => {
  t.regex(find([B], 'spiffe://b.test')?.version ?? '', /^f3-[0-9a-f]{12}$/);
});

for (const [why, name] of [
  ['known, and not federated with', 'spiffe://c.test'],
  ['federated with, with a path', 'spiffe://b.test/web'],
  ['federated with, without the scheme', 'b.test'],
])
  test(`${name}, ${why}, is nothing`, (t) => {
    t.is(find([B], name ?? ''), undefined);
  });

test('ALL is every trusted domain, each with its own roots', (t) => {
  const bundles = trustDomainsOf(find([B, C], 'ALL')?.encoded);
  t.deepEqual([...bundles.keys()], ['carnet.local', 'b.test', 'c.test']);
  for (const pem of bundles.values()) t.is(pem.match(/BEGIN CERTIFICATE/g)?.length, 1);
});

test('ALL of a caller that federates with nobody is our own trust domain', (t) => {
  t.deepEqual(domainsOf(find([], 'ALL')?.encoded), ['carnet.local']);
});

test('ALL counts as our own bundle, and differs when any of its bundles does', (t) => {
  const versions = [[], [B], [C], [B, C], [{ ...B, x509Sequence: 5 }, C]].map(
    (federated) => find(federated, 'ALL')?.version,
  );
  for (const version of versions) t.regex(version ?? '', /^7-[0-9a-f]{12}$/);
  t.is(new Set(versions).size, versions.length);
});

for (const name of ['ROOTCA', 'spiffe://carnet.local'])
  test(`${name} never has a foreign root`, (t) => {
    t.is(find([B, C], name), find([], name));
  });

test('a domain without roots is left out, and with no domain nobody is accepted', (t) => {
  const none = { ...B, x509Authorities: [] };
  t.deepEqual(domainsOf(find([none, C], 'ALL')?.encoded), ['carnet.local', 'c.test']);
  t.deepEqual(domainsOf(find([none], 'spiffe://b.test')?.encoded), []);
});

test("CRLs stand beside the roots of their domain, the only place where Envoy's SPIFFE validator reads them", async (t) => {
  const { root, issuing } = await createAuthorities('ec-p256');
  const crls = await Promise.all(
    [root, issuing].map(async ({ signing }) => (await nextCrl(signing, null, [], Date.now(), 30)).crl),
  );
  const own = bundle(7, { x509Authorities: [root.signing.certificate], crls });
  const all = trustDomainsOf(find([B], 'ALL', own)?.encoded);
  t.is(all.get('carnet.local')?.match(/BEGIN X509 CRL/g)?.length, 2);
  t.notRegex(all.get('b.test') ?? '', /CRL/);
});

test('ALL is withheld where our root has no CRL: revocation would not be in force', async (t) => {
  const { root, issuing } = await createAuthorities('ec-p256');
  const { crl } = await nextCrl(issuing.signing, null, [], Date.now(), 30);
  const own = bundle(7, { x509Authorities: [root.signing.certificate], crls: [crl] });
  t.is(find([B], 'ALL', own), undefined);
  t.not(find([B], 'ROOTCA', own), undefined);
});

test('callers that trust the same share what was encoded', (t) => {
  t.is(find([B, C], 'ALL'), find([B, C], 'ALL'));
  t.is(find([B], 'spiffe://b.test'), find([B, C], 'spiffe://b.test'));
});

function find(federated: readonly TrustBundle[], name: string, own: TrustBundle = OWN) {
  return resourcesOf({ svids: [SVID], bundle: own, federated, complete: true, problem: null }).get(name);
}

const SVID = svid();

function foreign(name: string, revision: number): TrustBundle {
  return bundle(revision, { trustDomain: parseTrustDomain(name), x509Authorities: [randomBytes(500)] });
}

/** PEM by trust domain, as the SPIFFE validator is told. */
function trustDomainsOf(encoded: Uint8Array | undefined): Map<string, string> {
  const config = contextOf(encoded)?.customValidatorConfig;
  if (config?.name !== 'envoy.tls.cert_validator.spiffe') throw new Error('not by the SPIFFE validator');
  const { trustDomains } = SPIFFECertValidatorConfig.decode(config.typedConfig?.value ?? new Uint8Array());
  return new Map(trustDomains.map(({ name, trustBundle }) => [name, pemOf(trustBundle?.specifier)]));
}

function domainsOf(encoded: Uint8Array | undefined): string[] {
  return [...trustDomainsOf(encoded).keys()];
}
