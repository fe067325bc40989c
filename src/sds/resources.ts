import { createHash } from 'node:crypto';
import type { Holdings, X509Svid } from '../delivery/holdings.ts';
import type { Secret } from '../gen/envoy/extensions/transport_sockets/tls/v3/secret.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import { toHex } from '../x509/bytes.ts';
import { parseCertificate } from '../x509/certificate.ts';
import { crlIssuer } from '../x509/crl.ts';
import { encodePem } from '../x509/pem.ts';
import { encodeSecret } from './encode.ts';
import type { Resource, Resources } from './resource.ts';

/** The caller's own certificate, whatever its identity. */
export const DEFAULT_NAME = 'default';
/** The bundle of the caller's own trust domain. */
export const BUNDLE_NAME = 'ROOTCA';

/**
 * What a caller with these holdings may have by name: `default` and its identities' SPIFFE IDs are
 * certificates with their keys, `ROOTCA` and its trust domain's ID are the bundle. Any other name is absent,
 * whether or not it exists for somebody else.
 *
 * Each is encoded once for as long as its certificate or bundle lives, whoever asks: so bundles must be
 * shared as objects.
 */
export function resourcesOf(holdings: Holdings): Resources {
  return { complete: holdings.complete, get: (name) => find(holdings, name) };
}

function find({ svids, bundle }: Holdings, name: string): Resource | undefined {
  if (name === BUNDLE_NAME || name === `spiffe://${bundle.trustDomain}`) {
    // An empty trusted_ca would have Envoy verify nothing.
    return bundle.x509Authorities.length === 0 ? undefined : cached(bundle, name, bundleResource);
  }
  const svid = name === DEFAULT_NAME ? svids[0] : svids.find(({ identity }) => identity === name);
  return svid && cached(svid, name, svidResource);
}

const cache = new WeakMap<X509Svid | TrustBundle, Map<string, Resource>>();

function cached<T extends X509Svid | TrustBundle>(
  source: T,
  name: string,
  make: (source: T, name: string) => Resource,
): Resource {
  let byName = cache.get(source);
  if (byName === undefined) {
    byName = new Map();
    cache.set(source, byName);
  }
  let resource = byName.get(name);
  if (resource === undefined) {
    resource = make(source, name);
    byName.set(name, resource);
  }
  return resource;
}

/** Its version is its serial, which no other certificate has. */
function svidResource({ serial, chain, privateKey, notAfter }: X509Svid, name: string): Resource {
  const type: Secret['type'] = {
    $case: 'tlsCertificate',
    value: {
      certificateChain: inline(chain.map((der) => encodePem('CERTIFICATE', der)).join('')),
      privateKey: inline(encodePem('PRIVATE KEY', privateKey)),
    },
  };
  return { name, version: serial, expiresAt: notAfter, encoded: encodeSecret({ name, type }) };
}

/** The roots, and the CRLs of all CAs below them: Envoy checks the whole chain against these. */
function bundleResource({ x509Sequence, x509Authorities, crls }: TrustBundle, name: string): Resource {
  const type: Secret['type'] = {
    $case: 'validationContext',
    value: {
      trustedCa: inline(x509Authorities.map((der) => encodePem('CERTIFICATE', der)).join('')),
      matchTypedSubjectAltNames: [],
      crl: crls.length === 0 ? undefined : inline(crls.map((der) => encodePem('X509 CRL', der)).join('')),
      onlyVerifyLeafCertCrl: crls.length > 0 && !haveCrls(x509Authorities, crls),
    },
  };
  const version = `${x509Sequence}-${digestOf([...x509Authorities, ...crls])}`;
  return { name, version, expiresAt: null, encoded: encodeSecret({ name, type }) };
}

/**
 * Whether each root has a CRL among them: one that was imported has none, and then Envoy must not ask for it. A root
 * and its CRL have the root's name in common.
 */
function haveCrls(roots: readonly Uint8Array[], crls: readonly Uint8Array[]): boolean {
  const issuers = new Set(crls.map((der) => toHex(crlIssuer(der))));
  return roots.every((der) => issuers.has(toHex(parseCertificate(der).subject)));
}

/** 12 hex digits over the certificates and CRLs and their order; DER tells its own length, so no separator is needed. */
function digestOf(certificates: readonly Uint8Array[]): string {
  const hash = createHash('sha256');
  for (const der of certificates) hash.update(der);
  return hash.digest('hex').slice(0, 12);
}

function inline(pem: string): { specifier: { $case: 'inlineBytes'; value: Uint8Array } } {
  return { specifier: { $case: 'inlineBytes', value: Buffer.from(pem, 'latin1') } };
}
