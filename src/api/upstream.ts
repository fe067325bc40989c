import { z } from 'zod';
import type { ImportRequest } from '../rotation/upstream.ts';
import { decodePem, encodePem } from '../x509/pem.ts';
import { DurationInput, Pem } from './fields.ts';
import { defineRoute, type Route } from './route.ts';

const MAX_REASON = 500;
/** Five certificates with RSA keys of 4096 bits, five times over. */
const MAX_CHAIN_CHARACTERS = 64 * 1024;

const UpstreamRequest = z
  .strictObject({ request: Pem.meta({ description: 'PKCS#10 (RFC 2986)' }) })
  .meta({ id: 'UpstreamRequest' });

const UpstreamImport = z
  .strictObject({
    certificates: z.string().max(MAX_CHAIN_CHARACTERS).meta({
      description:
        'PEM: the certificate of our request first, its issuers behind it, the self-signed root last',
    }),
    hands_free: z.boolean().default(true).meta({ description: 'False: each step waits for its request' }),
    hold: DurationInput.optional().meta({ description: 'For consumers that cannot acknowledge' }),
    reason: z.string().max(MAX_REASON).default('').meta({ description: 'Goes on record' }),
  })
  .meta({ id: 'UpstreamImport' });

const Imported = z.strictObject({ authority: z.string() }).meta({ id: 'UpstreamImported' });

export type UpstreamRequestBody = z.output<typeof UpstreamRequest>;
export type UpstreamImportedBody = z.output<typeof Imported>;

/** What the endpoints need to have an outside CA sign our issuing CA. */
export interface Upstream {
  /** PKCS#10, DER. */
  request(actor: string): Promise<Uint8Array>;
  /** Resolves to the ID of the issuing CA. */
  import(request: ImportRequest): Promise<string>;
}

export function upstreamRoutes(upstream: Upstream): Route[] {
  return [
    defineRoute({
      method: 'POST',
      path: '/v1/upstream/request',
      name: 'requestUpstream',
      access: 'admin',
      summary: 'Ask for a certificate request for an outside CA',
      description:
        'The key of an issuing CA, to be signed by a root that is not ours. The same one until its answer is imported.',
      response: UpstreamRequest,
      handle: async ({ caller: { actor } }) => ({
        request: encodePem('CERTIFICATE REQUEST', await upstream.request(actor)),
      }),
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/upstream/import',
      name: 'importUpstream',
      access: 'admin',
      summary: "Import an outside CA's answer",
      description:
        'The whole chain is checked; then the rotation to it begins, or the one that waits for it goes on.',
      body: UpstreamImport,
      response: Imported,
      handle: async ({ body: { certificates, hands_free, hold, reason }, caller: { actor } }) => ({
        authority: await upstream.import({
          chain: decodePem('CERTIFICATE', certificates),
          handsFree: hands_free,
          holdSeconds: hold ?? null,
          actor,
          reason,
        }),
      }),
    }),
  ];
}
