import { z } from 'zod';
import type { Clock } from '../clock.ts';
import { formatDuration } from '../duration.ts';
import { CarnetError } from '../errors.ts';
import { DurationInput, NameInput, Time, timeText } from './fields.ts';
import { cutPage, PAGE_QUERY, pageSchema } from './page.ts';
import { ROLES } from './role.ts';
import { defineRoute, type Route } from './route.ts';
import { checkScopes } from './scope.ts';
import { BREAK_GLASS_SECONDS } from './session.ts';
import type { Token, TokenStore } from './token.ts';
import { createTokenText, hashToken } from './token-text.ts';

/** Less would be over before it is used. */
const MIN_TTL_SECONDS = 60;
/** Of what is made in an emergency, none outlives the next day. */
const MAX_EMERGENCY_TTL_SECONDS = 86_400;
/** More than there are. */
const MAX_SCOPES = 64;

const TOKEN_FIELDS = {
  id: z.string(),
  name: z.string(),
  role: z.enum(ROLES),
  scopes: z.array(z.string()).nullable().meta({ description: 'Null: all that the role may' }),
  created_at: Time,
  expires_at: Time.nullable(),
  revoked_at: Time.nullable(),
  last_used_at: Time.nullable().meta({ description: 'To the minute or so; null for never' }),
};

const TokenBody = z.strictObject(TOKEN_FIELDS).meta({ id: 'Token' });

const CreatedToken = z
  .strictObject({
    ...TOKEN_FIELDS,
    token: z.string().meta({ description: 'The token itself, said here and never again' }),
  })
  .meta({ id: 'CreatedToken' });

const TokenInput = z
  .strictObject({
    name: NameInput,
    role: z.enum(ROLES, `must be one of ${ROLES.join(', ')}`),
    scopes: z
      .array(z.string().max(64))
      .min(1, 'must be absent, or name at least one')
      .max(MAX_SCOPES)
      .optional()
      .meta({
        description: 'Only these of what the role may, such as `entries:write` (docs/ACCESS.md)',
        examples: [['entries:read', 'entries:write']],
      }),
    ttl: DurationInput.refine((seconds) => seconds >= MIN_TTL_SECONDS, 'must be at least 60s')
      .optional()
      .meta({ description: 'Without it the token does not expire' }),
  })
  .meta({ id: 'TokenInput' });

export type TokenBody = z.output<typeof TokenBody>;
export type CreatedTokenBody = z.output<typeof CreatedToken>;

export interface TokenRouteDependencies {
  readonly tokens: TokenStore;
  readonly clock: Clock;
  /** All there are: what scopes can name. */
  readonly routes: () => readonly Route[];
  /** Called after a token's revocation, with its ID. */
  readonly revoked: (id: string) => void;
}

export function tokenRoutes({ tokens, clock, routes, revoked }: TokenRouteDependencies): Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/tokens',
      name: 'listTokens',
      access: 'auditor',
      summary: 'List the tokens',
      description: 'Without their secrets, which nobody but their holders has; revoked and expired ones too.',
      query: z.strictObject(PAGE_QUERY),
      response: pageSchema('TokenPage', TokenBody),
      handle: async ({ query }) => {
        const page = cutPage(await tokens.list(), orderKey, query);
        return { items: page.items.map(tokenBody), next_cursor: page.nextCursor };
      },
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/tokens',
      name: 'createToken',
      access: 'admin',
      summary: 'Create a token',
      description:
        `One of break-glass ends within ${formatDuration(BREAK_GLASS_SECONDS)}, and makes no other; what it makes of other roles ends within a day. Who is limited to scopes makes no ` +
        'token that may more.',
      body: TokenInput,
      response: CreatedToken,
      statuses: [201],
      handle: async ({ body: { name, role, ttl, scopes = null }, caller }) => {
        checkScopes({ role, scopes }, routes(), caller);
        if (role === 'break-glass' && !(ttl !== undefined && ttl <= BREAK_GLASS_SECONDS))
          throw new CarnetError(
            'invalid_argument',
            `a token of break-glass needs a ttl of at most ${formatDuration(BREAK_GLASS_SECONDS)}`,
          );
        if (role === 'break-glass' && caller.role === 'break-glass')
          throw new CarnetError(
            'permission_denied',
            'break-glass does not make itself last longer: an admin makes another token of it',
          );
        if (caller.role === 'break-glass' && !(ttl !== undefined && ttl <= MAX_EMERGENCY_TTL_SECONDS))
          throw new CarnetError(
            'invalid_argument',
            `a token that break-glass makes needs a ttl of at most ${formatDuration(MAX_EMERGENCY_TTL_SECONDS)}`,
          );
        const text = createTokenText(role);
        const expiresAt = ttl === undefined ? null : new Date(clock() + ttl * 1000);
        const token = await tokens.create(
          { name, role, scopes, expiresAt, sha256: hashToken(text) },
          caller.actor,
        );
        return { ...tokenBody(token), token: text };
      },
    }),
    defineRoute({
      method: 'DELETE',
      path: '/v1/tokens/{id}',
      name: 'revokeToken',
      access: 'admin',
      summary: 'Revoke a token',
      description:
        'At once at this replica, within 5 s at the others. A token can not revoke itself, so that one admin ' +
        'token is always left.',
      params: z.strictObject({ id: NameInput }),
      response: TokenBody,
      handle: async ({ params: { id }, caller }) => {
        if (id === caller.tokenId)
          throw new CarnetError(
            'conflict',
            `the token ${id} can not revoke itself: create another admin token and use that`,
          );
        const token = await tokens.revoke(id, caller.actor);
        revoked(id);
        return tokenBody(token);
      },
    }),
  ];
}

/** By time of creation; the ID parts those of one instant. */
function orderKey({ createdAt, id }: Token): string {
  return `${timeText(createdAt)} ${id}`;
}

function tokenBody(token: Token): z.input<typeof TokenBody> {
  return {
    id: token.id,
    name: token.name,
    role: token.role,
    scopes: token.scopes && [...token.scopes],
    created_at: timeText(token.createdAt),
    expires_at: token.expiresAt && timeText(token.expiresAt),
    revoked_at: token.revokedAt && timeText(token.revokedAt),
    last_used_at: token.lastUsedAt && timeText(token.lastUsedAt),
  };
}
