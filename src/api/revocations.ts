import { z } from 'zod';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { Denial } from '../revocation/denial.ts';
import type { Revoked, RevokeRequest, Target } from '../revocation/revoke.ts';
import { REVOCATION_REASONS, type RevocationReason } from '../x509/revocation-reason.ts';
import { NameInput, SerialInput, TextInput, Time, timeText } from './fields.ts';
import { identityOf } from './issuances.ts';
import { defineRoute, type Route } from './route.ts';

const MAX_REASON = 500;
const REASON_CODES = Object.keys(REVOCATION_REASONS) as [RevocationReason, ...RevocationReason[]];

const RevocationInput = z
  .strictObject({
    serial: SerialInput.optional(),
    identity: TextInput.optional().meta({ description: 'A whole SPIFFE ID, or a path in our trust domain' }),
    instance: TextInput.optional(),
    node: TextInput.optional(),
    authority: NameInput.optional(),
    reason_code: z.enum(REASON_CODES).default('unspecified').meta({ description: 'RFC 5280 §5.3.1' }),
    reason: z.string().max(MAX_REASON).default('').meta({ description: 'Goes on record' }),
    force: z.boolean().default(false).meta({
      description: 'Revokes an authority though certificates that it signed may still be presented',
    }),
  })
  .refine(
    ({ reason_code, reason, force, ...targets }) =>
      Object.values(targets).filter((one) => one !== undefined).length === 1,
    'exactly one of serial, identity, instance, node and authority must be given',
  )
  .meta({ id: 'RevocationInput' });

const RevocationResult = z
  .strictObject({
    denial_id: z.int().nullable().meta({ description: 'What is refused from now on; null for an authority' }),
    certificates: z.int().meta({ description: 'Revoked by this' }),
    bundle_sequence: z
      .int()
      .meta({ description: 'Who acknowledged this bundle, or a later one, refuses them' }),
  })
  .meta({ id: 'RevocationResult' });

const DenialBody = z
  .strictObject({
    id: z.int(),
    identity: z.string().nullable(),
    instance: z.string().nullable(),
    node: z.string().nullable(),
    reason: z.string(),
    actor: z.string(),
    created_at: Time,
    lifted_at: Time.nullable(),
  })
  .meta({ id: 'Denial' });

export type RevocationResultBody = z.output<typeof RevocationResult>;
export type DenialBody = z.output<typeof DenialBody>;

/** What the endpoints need of revocation. */
export interface Revocations {
  revoke(request: RevokeRequest): Promise<Revoked>;
  lift(denialId: number, actor: string): Promise<void>;
  denials(): Promise<readonly Denial[]>;
}

export function revocationRoutes(revocations: Revocations, trustDomain: TrustDomain): Route[] {
  return [
    defineRoute({
      method: 'POST',
      path: '/v1/revocations',
      name: 'revoke',
      access: 'operator',
      summary: 'Revoke certificates, and refuse to issue such again',
      description:
        'When it answers, the CRLs are on their way to every proxy. An issuing CA must not sign any more.',
      body: RevocationInput,
      response: RevocationResult,
      statuses: [201],
      handle: async ({ body, caller: { actor } }) => {
        const { reason_code: reasonCode, reason, force } = body;
        const { denialId, count, sequence } = await revocations.revoke({
          target: targetOf(body, trustDomain),
          reasonCode,
          reason,
          force,
          actor,
        });
        return { denial_id: denialId, certificates: count, bundle_sequence: sequence };
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/revocations',
      name: 'listDenials',
      access: 'reader',
      summary: 'List what is refused, and what was',
      response: z.strictObject({ items: z.array(DenialBody) }).meta({ id: 'DenialList' }),
      handle: async () => ({ items: (await revocations.denials()).map(denialBody) }),
    }),
    defineRoute({
      method: 'DELETE',
      path: '/v1/revocations/{id}',
      name: 'liftDenial',
      access: 'operator',
      summary: 'Let what was refused be issued again',
      description: 'What was revoked stays revoked.',
      params: z.strictObject({ id: z.coerce.number().int().positive() }),
      response: z.strictObject({ items: z.array(DenialBody) }).meta({ id: 'DenialList' }),
      handle: async ({ params: { id }, caller: { actor } }) => {
        await revocations.lift(id, actor);
        return { items: (await revocations.denials()).map(denialBody) };
      },
    }),
  ];
}

function targetOf(
  { serial, identity, instance, node, authority }: z.output<typeof RevocationInput>,
  trustDomain: TrustDomain,
): Target {
  if (serial !== undefined) return { kind: 'serial', serial };
  if (identity !== undefined) return { kind: 'identity', identity: identityOf(identity, trustDomain) };
  if (instance !== undefined) return { kind: 'instance', instance };
  if (node !== undefined) return { kind: 'node', node };
  return { kind: 'authority', authority: authority ?? '' };
}

function denialBody({
  id,
  identity,
  instance,
  node,
  reason,
  actor,
  createdAt,
  liftedAt,
}: Denial): z.input<typeof DenialBody> {
  return {
    id,
    identity,
    instance,
    node,
    reason,
    actor,
    created_at: timeText(createdAt),
    lifted_at: liftedAt && timeText(liftedAt),
  };
}
