import { z } from 'zod';
import { CarnetError } from '../errors.ts';
import type { AuthorityList } from './authorities.ts';
import { Der, NameInput } from './fields.ts';
import { defineRoute, type Route } from './route.ts';

/** A revocation is pushed to proxies at once; whoever fetches instead may be this much later. */
const CRL_CACHE_SECONDS = 60;
const CERTIFICATE_CACHE_SECONDS = 86_400;

const PARAMS = z.strictObject({ authority: NameInput });

/** What verifiers that are not ours fetch over HTTP (RFC 5280 §4.2.1.13, §4.2.2.1): public, signed by its CA. */
export interface Published {
  /** The latest CRL of an authority, DER; undefined for one that has none. */
  crl(authorityId: string): Promise<Uint8Array | undefined>;
}

export function publishedRoutes({ crl }: Published, authorities: AuthorityList): Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/crl/{authority}.crl',
      name: 'getCrl',
      access: 'public',
      summary: 'Get the latest CRL of an authority',
      description: 'DER. Proxies have it already, in their validation context.',
      params: PARAMS,
      response: Der,
      mediaType: 'application/pkix-crl',
      cacheSeconds: CRL_CACHE_SECONDS,
      handle: async ({ params: { authority } }) => present(await crl(authority), `CRL of ${authority}`),
    }),
    defineRoute({
      method: 'GET',
      path: '/ca/{authority}.cer',
      name: 'getAuthorityCertificate',
      access: 'public',
      summary: 'Get the certificate of an authority',
      description: 'DER.',
      params: PARAMS,
      response: Der,
      mediaType: 'application/pkix-cert',
      cacheSeconds: CERTIFICATE_CACHE_SECONDS,
      handle: async ({ params: { authority } }) => {
        const found = (await authorities.list()).find(({ id }) => id === authority);
        return present(found?.certificate, `authority ${authority}`);
      },
    }),
  ];
}

function present(der: Uint8Array | undefined, what: string): Uint8Array {
  if (der === undefined) throw new CarnetError('not_found', `there is no ${what}`);
  return der;
}
