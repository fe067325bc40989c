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
const MAX_TRUST_DOMAIN_BYTES = 255;
const TRUST_DOMAIN = /^[a-z0-9._-]+$/;
const SEGMENT = /^[a-zA-Z0-9._-]+$/;

/** Parses a trust domain's name (SPIFFE-ID §2.1). Throws `spiffe_id_invalid`. */
export function parseTrustDomain(text: string): TrustDomain {
  if (text.length === 0) throw invalid(text, 'the trust domain is empty');
  if (text.length > MAX_TRUST_DOMAIN_BYTES)
    throw invalid(text, `the trust domain is longer than ${MAX_TRUST_DOMAIN_BYTES} bytes`);
  if (!TRUST_DOMAIN.test(text))
    throw invalid(
      text,
      'a trust domain may hold lower-case letters, digits, dots, dashes and underscores only',
    );
  return text as TrustDomain;
}

/** Parses a SPIFFE ID, with or without a path (SPIFFE-ID §2). Throws `spiffe_id_invalid`. */
export function parseSpiffeId(text: string): SpiffeId {
  if (!text.startsWith(SCHEME)) throw invalid(text, `it must begin with ${SCHEME}`);
  if (text.length > MAX_ID_BYTES) throw invalid(text, `it is longer than ${MAX_ID_BYTES} bytes`);
  const rest = text.slice(SCHEME.length);
  const slash = rest.indexOf('/');
  parseTrustDomain(slash < 0 ? rest : rest.slice(0, slash));
  if (slash >= 0) checkPath(rest.slice(slash), text);
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

/** SPIFFE-ID §2.2: no empty or relative segments, no trailing slash, a narrow alphabet, no percent-encoding. */
function checkPath(path: string, text: string): void {
  for (const segment of path.slice(1).split('/')) {
    if (segment === '') throw invalid(text, 'its path has an empty segment or a trailing slash');
    if (segment === '.' || segment === '..') throw invalid(text, 'its path has a relative segment');
    if (!SEGMENT.test(segment))
      throw invalid(text, 'a path segment may hold letters, digits, dots, dashes and underscores only');
  }
}

function invalid(text: string, why: string): CarnetError {
  const shown = text.length > 100 ? `${text.slice(0, 100)}…` : text;
  return new CarnetError('spiffe_id_invalid', `${JSON.stringify(shown)} is not a valid SPIFFE ID: ${why}`);
}
