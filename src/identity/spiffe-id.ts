import { CarnetError } from '../errors.ts';

declare const spiffeId: unique symbol;
declare const trustDomain: unique symbol;

/** A SPIFFE ID in its only spelling, `spiffe://<trust domain><path>` (SPIFFE-ID §2). Parsed once, valid ever after. */
export type SpiffeId = string & { readonly [spiffeId]: true };

/** A trust domain's name without the scheme, for example `carnet.local` (SPIFFE-ID §2.1). */
export type TrustDomain = string & { readonly [trustDomain]: true };

const SCHEME = 'spiffe://';
/** SPIFFE-ID §2.3: implementations must support 2048 bytes, and should not generate longer. */
const MAX_ID_BYTES = 2048;
/** SPIFFE-ID §2.3, after RFC 3986 §3.2.2. */
const MAX_TRUST_DOMAIN_BYTES = 255;
const TRUST_DOMAIN = /^[a-z0-9._-]+$/;
const SEGMENT = /^[a-zA-Z0-9._-]+$/;

/**
 * Parses a trust domain's name (SPIFFE-ID §2.1). Throws `spiffe_id_invalid`, also for upper case: §2.4 calls
 * the name case-insensitive, but §2.1 leaves only one spelling, and identities are compared byte by byte.
 */
export function parseTrustDomain(text: string): TrustDomain {
  const fault = trustDomainFault(text);
  if (fault !== undefined)
    throw new CarnetError('spiffe_id_invalid', `${quoted(text)} is not a valid trust domain: ${fault}`);
  return text as TrustDomain;
}

/** Parses a SPIFFE ID, with or without a path (SPIFFE-ID §2). Throws `spiffe_id_invalid`. */
export function parseSpiffeId(text: string): SpiffeId {
  const fault = spiffeIdFault(text);
  if (fault !== undefined)
    throw new CarnetError('spiffe_id_invalid', `${quoted(text)} is not a valid SPIFFE ID: ${fault}`);
  return text as SpiffeId;
}

/** Joins a trust domain and a path (which begins with `/`) to a SPIFFE ID. Throws `spiffe_id_invalid`. */
export function spiffeIdOf(domain: TrustDomain, path: string): SpiffeId {
  return parseSpiffeId(`${SCHEME}${domain}${path}`);
}

export function trustDomainOf(id: SpiffeId): TrustDomain {
  const slash = id.indexOf('/', SCHEME.length);
  return id.slice(SCHEME.length, slash < 0 ? undefined : slash) as TrustDomain;
}

/** The path with its leading slash, or the empty string for a trust domain's own ID. */
export function pathOf(id: SpiffeId): string {
  const slash = id.indexOf('/', SCHEME.length);
  return slash < 0 ? '' : id.slice(slash);
}

/** Why the text is no SPIFFE ID, or undefined. The alphabets leave ASCII alone, so characters are bytes. */
function spiffeIdFault(text: string): string | undefined {
  if (!text.startsWith(SCHEME)) return `it must begin with ${SCHEME}`;
  if (text.length > MAX_ID_BYTES) return `it is longer than ${MAX_ID_BYTES} bytes`;
  const rest = text.slice(SCHEME.length);
  const slash = rest.indexOf('/');
  if (slash < 0) return trustDomainFault(rest);
  return trustDomainFault(rest.slice(0, slash)) ?? pathFault(rest.slice(slash));
}

/** SPIFFE-ID §2.1. The alphabet also shuts out user information, ports and percent-encoding. */
function trustDomainFault(text: string): string | undefined {
  if (text.length === 0) return 'the trust domain is empty';
  if (text.length > MAX_TRUST_DOMAIN_BYTES)
    return `the trust domain is longer than ${MAX_TRUST_DOMAIN_BYTES} bytes`;
  if (!TRUST_DOMAIN.test(text))
    return 'a trust domain may hold lower-case letters, digits, dots, dashes and underscores only';
  return undefined;
}

/** SPIFFE-ID §2.2. The alphabet also shuts out queries, fragments and percent-encoding. */
function pathFault(path: string): string | undefined {
  for (const segment of path.slice(1).split('/')) {
    if (segment === '') return 'its path has an empty segment or a trailing slash';
    if (segment === '.' || segment === '..') return 'its path has a relative segment';
    if (!SEGMENT.test(segment))
      return 'a path segment may hold letters, digits, dots, dashes and underscores only';
  }
  return undefined;
}

function quoted(text: string): string {
  return JSON.stringify(text.length > 100 ? `${text.slice(0, 100)}…` : text);
}
