import { z } from 'zod';
import { timestampOf } from '../audit/cursor.ts';
import type {
  OperatorEventFilter,
  OperatorEventQuery,
  RecordedOperatorEvent,
} from '../audit/operator-event.ts';
import { TextInput, Time, TimeInput } from './fields.ts';
import { PAGE_QUERY, pageSchema } from './page.ts';
import { defineRoute, type Route } from './route.ts';

const State = z.record(z.string(), z.unknown()).nullable();

export const OperatorEvent = z
  .strictObject({
    recorded_at: Time.meta({ description: "By the database's clock, in the transaction of the change" }),
    actor: z.string().meta({ description: '`operator:<token name>`, `schedule:<name>`, `server:<what>`' }),
    action: z.string().meta({ description: '`<noun>.<verb>`, for example `entry.update`' }),
    subject: z.string().meta({ description: 'ID of what was changed' }),
    before: State.meta({ description: 'Its state before, without secrets; null where there was none' }),
    after: State.meta({ description: 'Its state after; null where there is none' }),
    reason: z.string().meta({ description: "In the actor's words; may be empty" }),
    log_index: z.int().nullable().meta({ description: 'Of its leaf; null until it is in the log' }),
  })
  .meta({ id: 'OperatorEvent' });

export type OperatorEventBody = z.output<typeof OperatorEvent>;

const OperatorEventParameters = z.strictObject({
  actor: TextInput.optional(),
  action: TextInput.optional().meta({ description: 'With a dot at its end, all of a noun: `entry.`' }),
  subject: TextInput.optional(),
  from: TimeInput.optional().meta({ description: 'Recorded at or after' }),
  to: TimeInput.optional().meta({ description: 'Recorded before' }),
  ...PAGE_QUERY,
});

export function operatorEventRoutes(events: OperatorEventQuery): Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/operator-events',
      name: 'searchOperatorEvents',
      access: 'auditor',
      evidence: true,
      summary: 'Search what operators and schedules changed',
      description: 'All given filters must fit. Newest first, by time of recording.',
      query: OperatorEventParameters,
      response: pageSchema('OperatorEventPage', OperatorEvent),
      handle: async ({ query }) => {
        const page = await events.search(filterOf(query), query);
        return { items: page.items.map(eventBody), next_cursor: page.nextCursor };
      },
    }),
  ];
}

function filterOf(query: z.output<typeof OperatorEventParameters>): OperatorEventFilter {
  const { limit: _limit, cursor: _cursor, ...filter } = query;
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined));
}

export function eventBody(event: RecordedOperatorEvent): z.input<typeof OperatorEvent> {
  const { recordedAtMicros, logIndex, actor, action, subject, before, after, reason } = event;
  return {
    recorded_at: timestampOf(recordedAtMicros),
    actor,
    action,
    subject,
    before,
    after,
    reason,
    log_index: logIndex,
  };
}
