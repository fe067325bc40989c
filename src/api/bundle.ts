import { z } from 'zod';
import { CarnetError } from '../errors.ts';
import { encodeBundle } from '../identity/bundle-document.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import { pemOf } from './certificate-body.ts';
import { Pem } from './fields.ts';
import { defineRoute, type Route } from './route.ts';

/** How often a consumer may ask (SPIFFE Trust Domain and Bundle §4.1.2, which recommends five minutes). */
const REFRESH_HINT_SECONDS = 300;

const BundleKey = z
  .looseObject({
    use: z.enum(['x509-svid', 'jwt-svid']),
    kty: z.string(),
    x5c: z
      .tuple([z.string()])
      .optional()
      .meta({ description: 'Of x509-svid: the root certificate, DER in base64' }),
    kid: z.string().optional().meta({ description: 'Of jwt-svid: the key ID of its tokens' }),
  })
  .meta({ id: 'BundleKey', description: "A JWK (RFC 7517) with its key type's own members" });

const Bundle = z
  .strictObject({
    spiffe_sequence: z.int(),
    spiffe_refresh_hint: z.int().meta({ description: 'Seconds' }),
    keys: z.array(BundleKey),
  })
  .meta({ id: 'Bundle', description: 'A SPIFFE bundle (SPIFFE Trust Domain and Bundle §4)' });

/** Public by nature: it is what every peer must have, and holds no secret. Whoever fetches it must trust the way. */
export function bundleRoutes(bundle: () => TrustBundle | undefined): Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/bundle',
      name: 'getBundle',
      access: 'public',
      summary: 'Get the trust bundle in the SPIFFE format',
      description: 'The trust domain’s root certificates, and its keys for JWT-SVIDs, as a JWK Set.',
      response: Bundle,
      handle: () => Bundle.parse(encodeBundle(present(bundle()), REFRESH_HINT_SECONDS)),
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/bundle.pem',
      name: 'getBundlePem',
      access: 'public',
      summary: 'Get the trust bundle in PEM',
      description: 'The trust domain’s root certificates, one after the other.',
      response: Pem,
      mediaType: 'application/x-pem-file',
      handle: () => present(bundle()).x509Authorities.map(pemOf).join(''),
    }),
  ];
}

/** Throws `authority_unavailable`. */
export function present(bundle: TrustBundle | undefined): TrustBundle {
  if (bundle === undefined)
    throw new CarnetError(
      'authority_unavailable',
      'there is no trust bundle yet: the server is still starting',
    );
  return bundle;
}
