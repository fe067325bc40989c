import { z } from 'zod';
import type { Laggard } from '../rotation/gate.ts';
import type { StartRequest, StepRequest } from '../rotation/operate.ts';
import { PHASES, type RotationPicture } from '../rotation/picture.ts';
import { type EndedRotation, REQUESTS, ROTATION_KINDS } from '../rotation/rotation.ts';
import { DurationInput, Time, timeText } from './fields.ts';
import { cutPage, PAGE_QUERY, pageSchema } from './page.ts';
import { defineRoute, type Route } from './route.ts';

/** Laggards in one answer: enough to act on, however many there are. */
const NAMED_LIMIT = 100;
const MAX_REASON = 500;

const KIND = z.enum(ROTATION_KINDS);
const Reason = z.string().max(MAX_REASON).default('').meta({ description: 'Goes on record' });

const LaggardBody = z
  .strictObject({
    instance: z.string(),
    node: z.string(),
    names: z.array(z.string()).meta({ description: 'What its proxies call themselves' }),
    why: z.string(),
    until: Time.nullable().meta({ description: 'When it is no longer waited for by itself' }),
    problem: z.string().nullable().meta({ description: "Its last refusal, in the proxy's own words" }),
  })
  .meta({ id: 'Laggard' });

const RotationBody = z
  .strictObject({
    kind: KIND,
    phase: z.enum(PHASES),
    old_id: z.string(),
    new_id: z.string().nullable(),
    hands_free: z.boolean(),
    urgent: z.boolean().meta({ description: "The old authority's key is compromised" }),
    requested: z.enum(REQUESTS).nullable(),
    bundle_sequence: z.int().nullable().meta({ description: 'Acknowledged by all before the new one signs' }),
    consumers: z.int(),
    acknowledged: z.int().meta({ description: 'Consumers that acknowledged that bundle, or a later one' }),
    observed: z.int().meta({ description: 'Consumers that were seen to use it, by a look at their proxies' }),
    laggard_count: z.int(),
    laggards: z.array(LaggardBody),
    presenter_count: z.int().meta({ description: 'Consumers that may still present the old chain' }),
    presenters: z.array(LaggardBody),
    outstanding: z
      .int()
      .meta({ description: 'Valid certificates of the old chain not known to be replaced' }),
    open_by: Time.nullable().meta({ description: 'When waiting alone will have opened the gate' }),
    actor: z.string(),
    reason: z.string(),
    started_at: Time,
  })
  .meta({ id: 'Rotation' });

const RotationList = z.strictObject({ items: z.array(RotationBody) }).meta({ id: 'RotationList' });
export type RotationBody = z.output<typeof RotationBody>;

const EndedRotationBody = z
  .strictObject({
    id: z.int(),
    kind: KIND,
    outcome: z.enum(['done', 'aborted']),
    old_id: z.string(),
    new_id: z.string().nullable().meta({ description: 'Null for one that ended before it was prepared' }),
    urgent: z.boolean().meta({ description: "The old authority's key was compromised" }),
    actor: z.string().meta({ description: 'Who began it' }),
    reason: z.string(),
    started_at: Time,
    finished_at: Time,
  })
  .meta({ id: 'EndedRotation' });

export type EndedRotationBody = z.output<typeof EndedRotationBody>;

const StartBody = z
  .strictObject({
    kind: KIND.default('root'),
    hands_free: z.boolean().default(true).meta({ description: 'False: each step waits for its request' }),
    taint: z.boolean().default(false).meta({ description: "The current authority's key is compromised" }),
    cross_sign: z.boolean().default(false).meta({
      description: 'The old root certifies the new one too: see cross_certificate of GET /v1/authorities',
    }),
    hold: DurationInput.optional().meta({ description: 'For consumers that cannot acknowledge' }),
    reason: Reason,
  })
  .meta({ id: 'RotationStart' });

const StepBody = z
  .strictObject({
    request: z.enum(REQUESTS),
    force: z.boolean().default(false).meta({ description: 'Whatever the gate says; recorded' }),
    reason: Reason,
  })
  .meta({ id: 'RotationStep' });

/** What the endpoints need of rotation. */
export interface Rotations {
  pictures(): Promise<readonly RotationPicture[]>;
  startOrResume(request: StartRequest): Promise<void>;
  requestStep(request: StepRequest): Promise<void>;
  ended(): Promise<readonly EndedRotation[]>;
}

export function rotationRoutes(rotations: Rotations): Route[] {
  const list = async () => ({ items: (await rotations.pictures()).map(rotationBody) });
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/rotations',
      name: 'listRotations',
      access: 'reader',
      summary: 'Show the rotations under way',
      description:
        'Their phase, and who is waited for. Empty when none is under way. The same from every replica.',
      response: RotationList,
      handle: list,
    }),
    defineRoute({
      method: 'GET',
      path: '/v1/rotations/ended',
      name: 'listEndedRotations',
      access: 'reader',
      summary: 'List the rotations that are over',
      description: 'The one begun last first. What was done in each: `GET /v1/operator-events`.',
      query: z.strictObject(PAGE_QUERY),
      response: pageSchema('EndedRotationPage', EndedRotationBody),
      handle: async ({ query }) => {
        const page = cutPage(await rotations.ended(), newestFirst, query);
        return { items: page.items.map(endedBody), next_cursor: page.nextCursor };
      },
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/rotations',
      name: 'startRotation',
      access: 'operator',
      summary: 'Begin, or resume, a rotation',
      body: StartBody,
      response: RotationList,
      handle: async ({ body: { kind, hands_free, taint, cross_sign, hold, reason }, caller: { actor } }) => {
        await rotations.startOrResume({
          kind,
          handsFree: hands_free,
          taint,
          crossSign: cross_sign,
          holdSeconds: hold ?? null,
          actor,
          reason,
        });
        return list();
      },
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/rotations/{kind}',
      name: 'stepRotation',
      access: 'operator',
      summary: 'Ask for the next step of a rotation',
      description: '409 names who would be broken by it.',
      params: z.strictObject({ kind: KIND }),
      body: StepBody,
      response: RotationList,
      handle: async ({ params: { kind }, body: { request, force, reason }, caller: { actor } }) => {
        await rotations.requestStep({ kind, request, force, actor, reason });
        return list();
      },
    }),
  ];
}

function rotationBody(picture: RotationPicture): z.input<typeof RotationBody> {
  const { rotation, laggards, presenters } = picture;
  return {
    kind: rotation.kind,
    phase: picture.phase,
    old_id: rotation.oldId,
    new_id: rotation.newId,
    hands_free: rotation.handsFree,
    urgent: rotation.urgent,
    requested: rotation.requested,
    bundle_sequence: picture.sequence,
    consumers: picture.consumers,
    acknowledged: picture.acknowledged,
    observed: picture.observed,
    laggard_count: laggards.length,
    laggards: laggards.slice(0, NAMED_LIMIT).map(laggardBody),
    presenter_count: presenters.length,
    presenters: presenters.slice(0, NAMED_LIMIT).map(laggardBody),
    outstanding: picture.outstanding.count,
    open_by: picture.openBy === null ? null : timeText(new Date(picture.openBy)),
    actor: rotation.actor,
    reason: rotation.reason,
    started_at: timeText(rotation.startedAt),
  };
}

function laggardBody({ instance, node, names, why, until, problem }: Laggard): z.input<typeof LaggardBody> {
  return {
    instance,
    node,
    names: [...names],
    why,
    until: until === null ? null : timeText(new Date(until)),
    problem,
  };
}

/** Pages sort by their keys, upwards. */
function newestFirst({ id }: EndedRotation): string {
  return String(Number.MAX_SAFE_INTEGER - id).padStart(16, '0');
}

function endedBody(rotation: EndedRotation): z.input<typeof EndedRotationBody> {
  return {
    id: rotation.id,
    kind: rotation.kind,
    outcome: rotation.outcome,
    old_id: rotation.oldId,
    new_id: rotation.newId,
    urgent: rotation.urgent,
    actor: rotation.actor,
    reason: rotation.reason,
    started_at: timeText(rotation.startedAt),
    finished_at: timeText(rotation.finishedAt),
  };
}
