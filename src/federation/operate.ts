import { CarnetError } from '../errors.ts';
import { parseTrustDomain } from '../identity/spiffe-id.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import { acceptBundle, refuseOwn } from './accept-bundle.ts';
import type { Federation, FederationStore } from './federation.ts';
import { type EndpointInput, parseEndpoint } from './parse-endpoint.ts';

/** A federation as an operator asks for it. */
export interface FederationInput {
  readonly trustDomain: string;
  readonly endpoint: EndpointInput | null;
  /** A SPIFFE bundle document. */
  readonly bundle: string | null;
}

/**
 * Makes another trust domain known. What an endpoint is first authenticated by, or where there is none all that is
 * trusted, is given by the operator (SPIFFE Federation §5.2.2.2). Throws `spiffe_id_invalid`, `invalid_argument`, and
 * what the store throws.
 */
export function createFederation(
  store: FederationStore,
  own: TrustBundle,
  input: FederationInput,
  actor: string,
): Promise<Federation> {
  const trustDomain = parseTrustDomain(input.trustDomain);
  refuseOwn(trustDomain, own);
  const endpoint = input.endpoint && parseEndpoint(input.endpoint, trustDomain);
  if (endpoint?.profile !== 'https_web' && input.bundle === null)
    throw new CarnetError(
      'invalid_argument',
      endpoint === null
        ? `${trustDomain} has neither an endpoint nor a bundle: give one of them`
        : `the endpoint of ${trustDomain} is authenticated by a bundle: give the one that it has now (--bundle FILE)`,
    );
  const bundle = input.bundle === null ? null : acceptBundle(input.bundle, trustDomain, own, null);
  return store.create({ trustDomain, endpoint, bundle }, actor);
}

/** Puts a bundle of the operator's in the place of the last one, whatever its sequence (SPIFFE Federation §4.2). */
export function setBundle(
  store: FederationStore,
  own: TrustBundle,
  input: { readonly trustDomain: string; readonly bundle: string },
  actor: string,
): Promise<Federation> {
  const trustDomain = parseTrustDomain(input.trustDomain);
  return store.setBundle(trustDomain, acceptBundle(input.bundle, trustDomain, own, null), actor);
}
