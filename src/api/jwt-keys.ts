import { z } from 'zod';
import type { StoredJwtKey } from '../ca/jwt-key.ts';
import { KEY_ALGORITHMS } from '../ca/signer.ts';
import { STATES } from './authorities.ts';
import { Time, timeText } from './fields.ts';
import { defineRoute, type Route } from './route.ts';

const JwtKey = z
  .strictObject({
    id: z.string().meta({ description: 'The `kid` of its tokens' }),
    state: z.enum(STATES),
    key_algorithm: z.enum(KEY_ALGORITHMS),
    not_before: Time,
    not_after: Time,
    created_at: Time,
    state_since: Time,
    published_sequence: z.int().nullable().meta({ description: 'Of the first bundle that had it' }),
  })
  .meta({ id: 'JwtKey' });

const JwtKeyList = z.strictObject({ items: z.array(JwtKey) }).meta({ id: 'JwtKeyList' });

export type JwtKeyBody = z.output<typeof JwtKey>;

/** Not paged: there are as many as rotations in the history, some hundred a year. */
export function jwtKeyRoutes(list: () => Promise<readonly StoredJwtKey[]>): Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/jwt-keys',
      name: 'listJwtKeys',
      access: 'reader',
      summary: 'List the keys that sign JWT-SVIDs',
      description: 'In the order in which they were made, with their states, the retired ones too.',
      response: JwtKeyList,
      handle: async () => ({ items: (await list()).map(jwtKeyBody) }),
    }),
  ];
}

function jwtKeyBody(key: StoredJwtKey): z.input<typeof JwtKey> {
  return {
    id: key.id,
    state: key.state,
    key_algorithm: key.keyAlgorithm,
    not_before: timeText(key.notBefore),
    not_after: timeText(key.notAfter),
    created_at: timeText(key.createdAt),
    state_since: timeText(key.stateSince),
    published_sequence: key.publishedSequence,
  };
}
