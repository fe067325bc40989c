import { X509Certificate } from 'node:crypto';
import { z } from 'zod';
import { CarnetError } from '../errors.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import { pemOf } from './certificate-body.ts';
import { Pem } from './fields.ts';
import { defineRoute, type Route } from './route.ts';

/** How often a consumer may ask (SPIFFE Trust Domain and Bundle §4.1.2, which recommends five minutes). */
const REFRESH_HINT_SECONDS = 300;

const BundleKey = z
  .looseObject({
    use: z.literal('x509-svid'),
    kty: z.string(),
    x5c: z.tuple([z.string()]).meta({ description: 'The root certificate, DER in base64' }),
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
      description: 'The trust domain’s root certificates as a JWK Set.',
      response: Bundle,
      handle: () => spiffeBundle(present(bundle())),
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

function spiffeBundle(bundle: TrustBundle): z.input<typeof Bundle> {
  return {
    spiffe_sequence: bundle.sequence,
    spiffe_refresh_hint: REFRESH_HINT_SECONDS,
    keys: bundle.x509Authorities.map((der) => {
      const jwk = new X509Certificate(der).publicKey.export({ format: 'jwk' });
      return {
        ...jwk,
        kty: String(jwk.kty),
        use: 'x509-svid',
        x5c: [Buffer.from(der).toString('base64')],
      } as const;
    }),
  };
}

function present(bundle: TrustBundle | undefined): TrustBundle {
  if (bundle === undefined)
    throw new CarnetError(
      'authority_unavailable',
      'there is no trust bundle yet: the server is still starting',
    );
  return bundle;
}
