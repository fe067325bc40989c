import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { KeyUsage } from '../x509/key-usage.ts';
import { OID } from '../x509/oid.ts';
import type { KeyKind } from '../x509/public-key.ts';
import type { AuthorityKind } from './authority.ts';

/** How long a certificate may live. */
export interface Lifetime {
  readonly minSeconds: number;
  readonly maxSeconds: number;
}

/** Everything that a leaf says beyond its identity, key and time. Neither a CSR nor a library has a word in it. */
export interface LeafProfile {
  readonly name: 'x509-svid' | 'agent' | 'server';
  readonly lifetime: Lifetime;
  /** The kinds of public key that it may carry. */
  readonly keyKinds: readonly KeyKind[];
  readonly keyUsage: readonly KeyUsage[];
  /** Dotted OIDs. */
  readonly extKeyUsage: readonly string[];
  /** Whether it says where its issuer's certificate and CRL are, if they are published (`--public-url`). */
  readonly locatesIssuer: boolean;
}

/** Everything that a CA certificate says beyond its trust domain, key and time. */
export interface AuthorityProfile {
  readonly name: 'root-ca' | 'issuing-ca';
  readonly kind: AuthorityKind;
  readonly lifetime: Lifetime;
  readonly keyUsage: readonly KeyUsage[];
  /** How many CAs may follow below it (RFC 5280 §4.2.1.9); null where it does not say. */
  readonly pathLength: number | null;
  /** The words before the key's name in its common name. */
  readonly title: string;
  /** As in {@link LeafProfile}. */
  readonly locatesIssuer: boolean;
}

const DAY = 86_400;
const YEAR = 365 * DAY;

/**
 * A workload's leaf (X509-SVID). Its subject is empty and so its SAN critical: no client that we know wants
 * more, and a name there would be one more thing to trust. Key usage is digitalSignature for RSA too: all that
 * keyEncipherment allows is TLS 1.2 without forward secrecy (X509-SVID §4.3: "usually they aren't needed").
 * No Ed25519 leaves: Envoy loads one, but accepts none from a peer. P-384 leaves need TLS 1.3 between Envoys
 * (test/ca/envoy-key-types.test.ts).
 */
export const X509_SVID: LeafProfile = {
  name: 'x509-svid',
  lifetime: { minSeconds: 1, maxSeconds: 30 * DAY },
  keyKinds: ['ec-p256', 'ec-p384', 'rsa'],
  keyUsage: ['digitalSignature'],
  extKeyUsage: [OID.serverAuth, OID.clientAuth],
  locatesIssuer: true,
};

/** A node's agent's own leaf, by which servers know it: `/carnet/agent/<node>`. Of a shape with all other leaves. */
export const AGENT: LeafProfile = { ...X509_SVID, name: 'agent' };

/** A server's own leaf, by which agents know it: `/carnet/server`. */
export const SERVER: LeafProfile = { ...X509_SVID, name: 'server' };

/** A token for a workload (JWT-SVID). Not revocable, and anybody's who has it: so it lives for minutes. */
export const JWT_SVID = {
  name: 'jwt-svid',
  lifetime: { minSeconds: 5, maxSeconds: 3600 },
} as const satisfies { name: string; lifetime: Lifetime };

/**
 * Signs leaves and CRLs. No extended key usage, whose meaning in a CA differs between validators (X509-SVID
 * §4.4), and no name constraints, because rustls-webpki refuses every URI name below a URI constraint (§4.2
 * says MAY and urges caution).
 */
export const ISSUING_CA: AuthorityProfile = {
  name: 'issuing-ca',
  kind: 'issuing',
  lifetime: { minSeconds: 10, maxSeconds: 5 * YEAR },
  keyUsage: ['keyCertSign', 'cRLSign'],
  pathLength: 0,
  title: 'Carnet issuing CA',
  locatesIssuer: true,
};

/**
 * Signs issuing CAs, and CRLs for them. No path length: a root that cross-signs its successor has two CAs below
 * it, and what a trusted root says cannot be taken back.
 */
export const ROOT_CA: AuthorityProfile = {
  name: 'root-ca',
  kind: 'root',
  lifetime: { minSeconds: 20, maxSeconds: 30 * YEAR },
  keyUsage: ['keyCertSign', 'cRLSign'],
  pathLength: null,
  title: 'Carnet root',
  // Who trusts it has it, and one that cross-signs is asked for nothing more.
  locatesIssuer: false,
};

/** RFC 5280 appendix A.1: ub-organization-name. */
const MAX_ORGANIZATION = 64;

/** A CA's subject as attributes in order: the trust domain, and a name that no other key of ours has. */
export function authoritySubject(
  profile: AuthorityProfile,
  trustDomain: TrustDomain,
  keyName: string,
): Record<string, string[]>[] {
  return [{ O: [trustDomain.slice(0, MAX_ORGANIZATION)] }, { CN: [`${profile.title} ${keyName}`] }];
}
