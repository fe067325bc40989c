import { z } from 'zod';
import { parseNodeName } from '../agent/identity.ts';
import { createJoinToken, hashJoinToken } from '../agent/join-token-text.ts';
import type { JoinTokenRecord, JoinTokenStore } from '../agent/server/join-token-store.ts';
import type { Clock } from '../clock.ts';
import { CarnetError } from '../errors.ts';
import { parseSelector, selectorParts } from '../identity/selector.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import { DurationInput, NameInput, Time, timeText } from './fields.ts';
import { cutPage, PAGE_QUERY, pageSchema } from './page.ts';
import { defineRoute, type Route } from './route.ts';

/** Time to carry it to the node and start the agent there. */
const DEFAULT_TTL_SECONDS = 600;
const MIN_TTL_SECONDS = 10;
/** Longer than the way to any node, and shorter than anybody forgets a secret lying about. */
const MAX_TTL_SECONDS = 7 * 86_400;
const MAX_SELECTORS = 32;

const JOIN_TOKEN_FIELDS = {
  id: z.string(),
  node: z.string().nullable().meta({ description: 'Null: the node will be named after the token' }),
  selectors: z.array(z.string()),
  created_by: z.string(),
  created_at: Time,
  expires_at: Time,
  used_at: Time.nullable(),
  used_by: z.string().nullable().meta({ description: 'The node that it let in' }),
  revoked_at: Time.nullable(),
};

const JoinTokenBody = z.strictObject(JOIN_TOKEN_FIELDS).meta({ id: 'JoinToken' });

const CreatedJoinToken = z
  .strictObject({
    ...JOIN_TOKEN_FIELDS,
    token: z.string().meta({
      description:
        "The token itself, said here and never again. It also holds the roots' SHA-256, by which the agent knows the server",
    }),
  })
  .meta({ id: 'CreatedJoinToken' });

const JoinTokenInput = z
  .strictObject({
    node: z
      .string()
      .max(253)
      .optional()
      .meta({ description: "The node's name", examples: ['web-1'] }),
    selectors: z
      .array(z.string())
      .max(MAX_SELECTORS)
      .default([])
      .meta({
        description: 'What entries can ask of the node, besides `node:name`',
        examples: [['node:rack:7']],
      }),
    ttl: DurationInput.refine(
      (seconds) => seconds >= MIN_TTL_SECONDS && seconds <= MAX_TTL_SECONDS,
      'must be from 10s to 7d',
    )
      .optional()
      .meta({ description: '10m if not given' }),
  })
  .meta({ id: 'JoinTokenInput' });

export type JoinTokenBody = z.output<typeof JoinTokenBody>;
export type CreatedJoinTokenBody = z.output<typeof CreatedJoinToken>;

export interface JoinTokenRouteDependencies {
  readonly joinTokens: JoinTokenStore;
  /** What is trusted now; undefined before the first start is over. */
  readonly bundle: () => TrustBundle | undefined;
  readonly clock: Clock;
}

export function joinTokenRoutes({ joinTokens, bundle, clock }: JoinTokenRouteDependencies): Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/join-tokens',
      name: 'listJoinTokens',
      access: 'reader',
      summary: 'List the join tokens',
      description:
        'Without their secrets; used, revoked and expired ones too, until a month after their end.',
      query: z.strictObject(PAGE_QUERY),
      response: pageSchema('JoinTokenPage', JoinTokenBody),
      handle: async ({ query }) => {
        const page = cutPage(await joinTokens.list(), orderKey, query);
        return { items: page.items.map(joinTokenBody), next_cursor: page.nextCursor };
      },
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/join-tokens',
      name: 'createJoinToken',
      access: 'operator',
      summary: 'Create a join token',
      description: 'It lets one agent join, once, as the agent of one node.',
      body: JoinTokenInput,
      response: CreatedJoinToken,
      statuses: [201],
      handle: async ({ body: { node, selectors, ttl = DEFAULT_TTL_SECONDS }, caller }) => {
        const roots = bundle()?.x509Authorities;
        if (roots === undefined)
          throw new CarnetError('authority_unavailable', 'there is no root yet: try again in a moment');
        const { id, text } = createJoinToken(roots);
        const token = {
          id,
          sha256: hashJoinToken(text),
          node: node === undefined ? null : parseNodeName(node),
          selectors: parseNodeSelectors(selectors),
          expiresAt: new Date(clock() + ttl * 1000),
        };
        return { ...joinTokenBody(await joinTokens.create(token, caller.actor)), token: text };
      },
    }),
    defineRoute({
      method: 'DELETE',
      path: '/v1/join-tokens/{id}',
      name: 'revokeJoinToken',
      access: 'operator',
      summary: 'Revoke a join token',
      description: 'An agent that joined by it stays: `POST /v1/agents/{node}/ban` is for that.',
      params: z.strictObject({ id: NameInput }),
      response: JoinTokenBody,
      handle: async ({ params: { id }, caller }) => joinTokenBody(await joinTokens.revoke(id, caller.actor)),
    }),
  ];
}

/** Throws `selector_invalid` for one that is not of a node, or is its name, which `node` says. */
function parseNodeSelectors(selectors: readonly string[]): string[] {
  for (const text of selectors) {
    const { type, key } = selectorParts(parseSelector(text));
    if (type !== 'node' || key === 'name')
      throw new CarnetError(
        'selector_invalid',
        `${JSON.stringify(text)} can't be given to a node: it must read node:key:value, the key not being name`,
      );
  }
  return [...new Set(selectors)].sort();
}

/** By time of creation; the ID parts those of one instant. */
function orderKey({ createdAt, id }: JoinTokenRecord): string {
  return `${timeText(createdAt)} ${id}`;
}

function joinTokenBody(token: JoinTokenRecord): z.input<typeof JoinTokenBody> {
  return {
    id: token.id,
    node: token.node,
    selectors: [...token.selectors],
    created_by: token.actor,
    created_at: timeText(token.createdAt),
    expires_at: timeText(token.expiresAt),
    used_at: token.usedAt && timeText(token.usedAt),
    used_by: token.usedBy,
    revoked_at: token.revokedAt && timeText(token.revokedAt),
  };
}
