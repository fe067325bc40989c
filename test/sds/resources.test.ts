import test from 'ava';
import { Secret } from '../../src/gen/envoy/extensions/transport_sockets/tls/v3/secret.ts';
import { Any } from '../../src/gen/google/protobuf/any.ts';
import { parseSpiffeId } from '../../src/identity/spiffe-id.ts';
import { SECRET_TYPE } from '../../src/sds/encode.ts';
import { resourcesOf } from '../../src/sds/resources.ts';
import { bundle, svid, TestHolder } from './holder.ts';

const web = svid();
const api = svid({ identity: parseSpiffeId('spiffe://carnet.local/api') });
const roots = bundle(7);
const holdings = { svids: [web, api], bundle: roots, complete: true, problem: null };

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
  t.not(versionOf({ sequence: 8 }), versionOf({}));
  t.not(versionOf({ x509Authorities: [...copies, ...bundle(1).x509Authorities] }), versionOf({}));
});

function secretOf(encoded: Uint8Array | undefined): Secret {
  const { typeUrl, value } = Any.decode(encoded ?? new Uint8Array());
  if (typeUrl !== SECRET_TYPE) throw new Error(`not a secret: ${typeUrl}`);
  return Secret.decode(value);
}

function pemOf(specifier: { $case: string; value: string | Uint8Array } | undefined): string {
  return specifier?.$case === 'inlineBytes' ? Buffer.from(specifier.value).toString() : '';
}
