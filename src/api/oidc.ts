import { z } from 'zod';
import { CarnetError } from '../errors.ts';
import { encodeOidcKeys } from '../identity/bundle-document.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import { present } from './bundle.ts';
import { defineRoute, type Route } from './route.ts';

/** Half of the time that a new key is published before it signs (`--jwt-key-hold`): no cache is behind by then. */
const CACHE_SECONDS = 300;

const Configuration = z
  .strictObject({
    issuer: z.string(),
    jwks_uri: z.string(),
    authorization_endpoint: z.string().meta({ description: 'Empty: nobody logs in here' }),
    response_types_supported: z.array(z.string()),
    subject_types_supported: z.array(z.string()),
    id_token_signing_alg_values_supported: z.array(z.string()),
  })
  .meta({ id: 'OpenIdConfiguration', description: 'OpenID Connect Discovery §3' });

const Keys = z
  .strictObject({
    keys: z.array(
      z.looseObject({ kid: z.string(), kty: z.string(), use: z.literal('sig'), alg: z.string() }),
    ),
  })
  .meta({ id: 'JwkSet', description: 'RFC 7517 §5' });

/** For verifiers of JWT-SVIDs that know OpenID Connect and not SPIFFE, such as clouds. Public by nature. */
export function oidcRoutes(issuer: string | null, bundle: () => TrustBundle | undefined): Route[] {
  const keys = () => encodeOidcKeys(present(bundle())).keys.map((key) => Keys.shape.keys.element.parse(key));
  return [
    defineRoute({
      method: 'GET',
      path: '/.well-known/openid-configuration',
      name: 'getOpenIdConfiguration',
      access: 'public',
      summary: 'Get the OpenID Connect configuration of JWT-SVIDs',
      description: '404 without `--jwt-issuer`.',
      response: Configuration,
      cacheSeconds: CACHE_SECONDS,
      handle: () => {
        if (issuer === null)
          throw new CarnetError('not_found', 'JWT-SVIDs name no issuer: start the server with --jwt-issuer');
        return {
          issuer,
          jwks_uri: `${issuer}/keys`,
          authorization_endpoint: '',
          response_types_supported: ['id_token'],
          subject_types_supported: ['public'],
          id_token_signing_alg_values_supported: [...new Set(keys().map(({ alg }) => alg))],
        };
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/keys',
      name: 'getJwtKeys',
      access: 'public',
      summary: 'Get the keys by which JWT-SVIDs are verified',
      description:
        'A JWK Set with `use: sig`, as OpenID Connect has it; in the SPIFFE format they are in the bundle.',
      response: Keys,
      mediaType: 'application/jwk-set+json',
      cacheSeconds: CACHE_SECONDS,
      handle: () => ({ keys: keys() }),
    }),
  ];
}
