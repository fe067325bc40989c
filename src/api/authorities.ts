import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { AuthorityState } from '../ca/authority.ts';
import type { StoredAuthority } from '../ca/authority-store.ts';
import { KEY_ALGORITHMS } from '../ca/signer.ts';
import { hexOf, pemOf } from './certificate-body.ts';
import { Hex, Pem, Time, timeText } from './fields.ts';
import { defineRoute, type Route } from './route.ts';

export const STATES = [
  'prepared',
  'published',
  'active',
  'draining',
  'retired',
  'tainted',
] as const satisfies AuthorityState[];

const Authority = z
  .strictObject({
    id: z.string(),
    kind: z.enum(['root', 'issuing']),
    state: z.enum(STATES),
    parent: z.string().meta({ description: 'Who signed it; a root itself' }),
    key_algorithm: z.enum(KEY_ALGORITHMS),
    not_before: Time,
    not_after: Time,
    created_at: Time,
    certificate_sha256: Hex.meta({ description: 'Of the DER' }),
    certificate: Pem,
    cross_certificate: Pem.nullable().meta({ description: 'The same key certified by the root before it' }),
  })
  .meta({ id: 'Authority' });

export type AuthorityBody = z.output<typeof Authority>;

/** Not paged: there are as many as rotations in the history, some dozens a year. */
const AuthorityList = z.strictObject({ items: z.array(Authority) }).meta({ id: 'AuthorityList' });

export interface AuthorityList {
  list(): Promise<readonly StoredAuthority[]>;
}

export function authorityRoutes(authorities: AuthorityList): Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/authorities',
      name: 'listAuthorities',
      access: 'reader',
      summary: 'List the authorities',
      description: 'Every root and issuing CA, in the order in which they were made, with its state.',
      response: AuthorityList,
      handle: async () => {
        const all = [...(await authorities.list())];
        all.sort((a, b) => a.createdAt.getTime() - b.createdAt.getTime());
        return { items: all.map(authorityBody) };
      },
    }),
  ];
}

function authorityBody(authority: StoredAuthority): z.input<typeof Authority> {
  return {
    id: authority.id,
    kind: authority.kind,
    state: authority.state,
    parent: authority.parentId,
    key_algorithm: authority.keyAlgorithm,
    not_before: timeText(authority.notBefore),
    not_after: timeText(authority.notAfter),
    created_at: timeText(authority.createdAt),
    certificate_sha256: hexOf(createHash('sha256').update(authority.certificate).digest()),
    certificate: pemOf(authority.certificate),
    cross_certificate: authority.crossCertificate && pemOf(authority.crossCertificate),
  };
}
