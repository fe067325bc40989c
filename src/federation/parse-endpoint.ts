import { CarnetError } from '../errors.ts';
import { parseSpiffeId, pathOf, type TrustDomain, trustDomainOf } from '../identity/spiffe-id.ts';
import type { Endpoint } from './federation.ts';

const MAX_URL_CHARACTERS = 2048;

/** An endpoint as an operator writes it. */
export interface EndpointInput {
  readonly profile: Endpoint['profile'];
  readonly url: string;
  readonly spiffeId: string | null;
}

/**
 * Parses where and how the bundle of `trustDomain` is fetched (SPIFFE Federation §5.2.1.1, §5.2.2.1): by https,
 * without user information. An endpoint that is authenticated by its SPIFFE ID serves the bundle of its own trust
 * domain. Throws `invalid_argument`.
 */
export function parseEndpoint({ profile, url, spiffeId }: EndpointInput, trustDomain: TrustDomain): Endpoint {
  const parsed = URL.canParse(url) && url.length <= MAX_URL_CHARACTERS ? new URL(url) : null;
  if (parsed?.protocol !== 'https:') throw invalid(url, 'it must be a URL that begins with https://');
  if (parsed.username !== '' || parsed.password !== '')
    throw invalid(url, 'it must hold no user name or password');
  if (profile === 'https_web') {
    if (spiffeId !== null) throw invalid(url, 'an https_web endpoint has no SPIFFE ID: leave it out');
    return { profile, url: parsed.href };
  }
  if (spiffeId === null) throw invalid(url, 'an https_spiffe endpoint needs its SPIFFE ID');
  const id = parseSpiffeId(spiffeId);
  if (trustDomainOf(id) !== trustDomain || pathOf(id) === '')
    throw invalid(url, `its SPIFFE ID must be one of ${trustDomain}, with a path, and is ${id}`);
  return { profile, url: parsed.href, spiffeId: id };
}

function invalid(url: string, why: string): CarnetError {
  return new CarnetError('invalid_argument', `the endpoint ${JSON.stringify(url.slice(0, 200))}: ${why}`);
}
