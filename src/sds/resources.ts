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
import { spiffeValidationContext } from './spiffe-validator.ts';

/** The caller's own certificate, whatever its identity. */
export const DEFAULT_NAME = 'default';
/** The bundle of the caller's own trust domain. */
export const BUNDLE_NAME = 'ROOTCA';
/** That, and those of the trust domains that the caller's entries federate with, each for its own names. */
export const ALL_BUNDLES_NAME = 'ALL';

/**
 * What a caller with these holdings may have by name: `default` and its identities' SPIFFE IDs are
 * certificates with their keys, `ROOTCA` and its trust domain's ID are the bundle. The ID of a trust domain that its
 * entries federate with is that one's bundle, which vouches for no other's names; `ALL` is all of these together. Any
 * other name is absent, whether or not it exists for somebody else.
 *
 * Each is encoded once for as long as its certificate or bundle lives, whoever asks: so bundles must be
 * shared as objects.
 */
export function resourcesOf(holdings: Holdings): Resources {
  return { complete: holdings.complete, get: (name) => find(holdings, name) };
}

function find({ svids, bundle, federated }: Holdings, name: string): Resource | undefined {
  if (name === BUNDLE_NAME || name === `spiffe://${bundle.trustDomain}`) {
    // An empty trusted_ca would have Envoy verify nothing.
    return bundle.x509Authorities.length === 0
      ? undefined
      : cached([bundle], name, () => bundleResource(bundle, name));
  }
  if (name === ALL_BUNDLES_NAME) {
    // By the SPIFFE validator revocation is in force where every CA has a CRL, and an imported root has none.
    return bundle.x509Authorities.length === 0 || !areChecked(bundle)
      ? undefined
      : cached([bundle, ...federated], name, () => allBundlesResource(bundle, federated, name));
  }
  const foreign = federated.find(({ trustDomain }) => name === `spiffe://${trustDomain}`);
  if (foreign !== undefined) return cached([foreign], name, () => foreignResource(foreign, name));
  const svid = name === DEFAULT_NAME ? svids[0] : svids.find(({ identity }) => identity === name);
  return svid && cached([svid], name, () => svidResource(svid, name));
}

/** What was encoded, by what it was made of: it goes with the first of these that goes. */
interface Cache {
  readonly resources: Map<string, Resource>;
  readonly next: WeakMap<X509Svid | TrustBundle, Cache>;
}

const CACHE: Cache = { resources: new Map(), next: new WeakMap() };

function cached(sources: readonly (X509Svid | TrustBundle)[], name: string, make: () => Resource): Resource {
  let at = CACHE;
  for (const source of sources) {
    let next = at.next.get(source);
    if (next === undefined) {
      next = { resources: new Map(), next: new WeakMap() };
      at.next.set(source, next);
    }
    at = next;
  }
  let resource = at.resources.get(name);
  if (resource === undefined) {
    resource = make();
    at.resources.set(name, resource);
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
      onlyVerifyLeafCertCrl: !areChecked({ x509Authorities, crls }),
      customValidatorConfig: undefined,
    },
  };
  const version = `${x509Sequence}-${digestOf([...x509Authorities, ...crls])}`;
  return { name, version, expiresAt: null, encoded: encodeSecret({ name, type }) };
}

/** All trusted bundles. It counts as the own one: its version begins with the same sequence. */
function allBundlesResource(bundle: TrustBundle, federated: readonly TrustBundle[], name: string): Resource {
  const { x509Sequence, x509Authorities, crls } = bundle;
  const type: Secret['type'] = {
    $case: 'validationContext',
    value: spiffeValidationContext([bundle, ...federated]),
  };
  const parts = federated.map((one) => Buffer.from(foreignVersion(one)));
  const version = `${x509Sequence}-${digestOf([...x509Authorities, ...crls, ...parts])}`;
  return { name, version, expiresAt: null, encoded: encodeSecret({ name, type }) };
}

function foreignResource(bundle: TrustBundle, name: string): Resource {
  const type: Secret['type'] = { $case: 'validationContext', value: spiffeValidationContext([bundle]) };
  return { name, version: foreignVersion(bundle), expiresAt: null, encoded: encodeSecret({ name, type }) };
}

/** Begins with a letter, so that it never counts as a version of our own bundle. */
function foreignVersion({ trustDomain, x509Sequence, x509Authorities }: TrustBundle): string {
  return `f${x509Sequence}-${digestOf([Buffer.from(trustDomain), ...x509Authorities])}`;
}

/**
 * Whether Envoy may check the whole of a chain by the CRLs, if there are any: an imported root has none, and then
 * Envoy must not ask for it. A root and its CRL have the root's name in common.
 */
function areChecked({ x509Authorities, crls }: Pick<TrustBundle, 'x509Authorities' | 'crls'>): boolean {
  if (crls.length === 0) return true;
  const issuers = new Set(crls.map((der) => toHex(crlIssuer(der))));
  return x509Authorities.every((der) => issuers.has(toHex(parseCertificate(der).subject)));
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
