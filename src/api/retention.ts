import { z } from 'zod';
import type { LegalHold, LegalHolds, NewLegalHold } from '../audit/legal-hold.ts';
import { PartitionExport } from '../audit/retired.ts';
import type { RetiredList, RetiredPartition } from '../audit/retired-list.ts';
import { CarnetError } from '../errors.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { TextInput, Time, TimeInput, timeText } from './fields.ts';
import { identityOf, identityPrefixOf } from './issuances.ts';
import { defineRoute, type Route } from './route.ts';

const Hold = z
  .strictObject({
    id: z.int(),
    identity: z.string().nullable().meta({ description: 'Null for everything, and where a prefix is held' }),
    identity_prefix: z.string().nullable(),
    from: Time.nullable(),
    to: Time.nullable(),
    reason: z.string(),
    actor: z.string(),
    created_at: Time,
    released: z
      .strictObject({ at: Time, actor: z.string(), reason: z.string() })
      .nullable()
      .meta({ description: 'Null while it is in force' }),
  })
  .meta({ id: 'LegalHold' });
export type HoldBody = z.output<typeof Hold>;

const HoldInput = z.strictObject({
  identity: TextInput.optional().meta({ description: 'A whole SPIFFE ID, or a path in our trust domain' }),
  identity_prefix: TextInput.optional().meta({ description: 'How the SPIFFE ID, or its path, begins' }),
  from: TimeInput.optional().meta({ description: 'Recorded at or after' }),
  to: TimeInput.optional().meta({ description: 'Recorded before' }),
  reason: TextInput,
});

const Retired = z
  .strictObject({
    partition: z.string(),
    how: z.enum(['detach', 'drop']),
    actor: z.string(),
    reason: z.string(),
    retired_at: Time,
    export: PartitionExport.meta({ description: 'Where its records are' }),
  })
  .meta({ id: 'RetiredPartition' });

export type RetiredBody = z.output<typeof Retired>;

/** Legal holds, and what is no longer in the database. */
export function retentionRoutes(holds: LegalHolds, list: RetiredList, trustDomain: TrustDomain): Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/retention',
      name: 'listRetired',
      access: 'reader',
      summary: 'List the months that were taken out of history, and their exports',
      response: z.strictObject({ items: z.array(Retired) }).meta({ id: 'RetiredList' }),
      handle: async () => ({ items: (await list.retired()).map(retiredBody) }),
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/holds',
      name: 'listHolds',
      access: 'auditor',
      summary: 'List the legal holds, those that were released too',
      response: z.strictObject({ items: z.array(Hold) }).meta({ id: 'LegalHoldList' }),
      handle: async () => ({ items: (await holds.list()).map(holdBody) }),
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/holds',
      name: 'createHold',
      access: 'admin',
      summary:
        'Keep what was recorded of an identity, or within a span of time, whatever the retention policy says',
      body: HoldInput,
      response: Hold,
      statuses: [201],
      handle: async ({ body, caller }) =>
        holdBody(await holds.create(holdOf(body, trustDomain), caller.actor)),
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/holds/{id}/release',
      name: 'releaseHold',
      access: 'admin',
      summary: 'End a legal hold',
      params: z.strictObject({ id: z.coerce.number().int().positive() }),
      body: z.strictObject({ reason: TextInput }),
      response: Hold,
      handle: async ({ params: { id }, body: { reason }, caller }) =>
        holdBody(await holds.release(id, reason, caller.actor)),
    }),
  ];
}

function holdOf(body: z.output<typeof HoldInput>, trustDomain: TrustDomain): NewLegalHold {
  const { identity, identity_prefix: prefix, from = null, to = null, reason } = body;
  if (identity !== undefined && prefix !== undefined)
    throw new CarnetError('invalid_argument', 'a hold is on an identity or on a prefix, not on both');
  if (from !== null && to !== null && from >= to)
    throw new CarnetError('invalid_argument', 'a hold ends after it begins: `from` must be before `to`');
  if (prefix !== undefined)
    return { identity: identityPrefixOf(prefix, trustDomain), isPrefix: true, from, to, reason };
  const held = identity === undefined ? null : identityOf(identity, trustDomain);
  return { identity: held, isPrefix: false, from, to, reason };
}

function holdBody({ id, identity, isPrefix, from, to, reason, actor, createdAt, released }: LegalHold) {
  return {
    id,
    identity: isPrefix ? null : identity,
    identity_prefix: isPrefix ? identity : null,
    from: from && timeText(from),
    to: to && timeText(to),
    reason,
    actor,
    created_at: timeText(createdAt),
    released: released && { ...released, at: timeText(released.at) },
  };
}

function retiredBody({ partition, how, actor, reason, retiredAt, exported }: RetiredPartition) {
  return { partition, how, actor, reason, retired_at: timeText(retiredAt), export: exported };
}
