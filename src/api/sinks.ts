import { z } from 'zod';
import type { ForwardStore, SinkState } from '../forward/store.ts';
import { TextInput, Time, timeText } from './fields.ts';
import { cutPage, PAGE_QUERY, pageSchema } from './page.ts';
import { defineRoute, type Route } from './route.ts';

export type Sinks = Pick<ForwardStore, 'list' | 'move'>;

const Sink = z
  .strictObject({
    name: z.string(),
    target: z.string().meta({ description: 'Where it is; of a webhook without its path' }),
    position: z.int().meta({ description: 'Leaf index of the entry that it gets next' }),
    lag_entries: z.int().meta({ description: 'How many entries of the log wait for it' }),
    lag_seconds: z.number().meta({ description: 'How long ago the first of them was recorded; 0 for none' }),
    acknowledged_at: Time.nullable(),
    failures: z.int().meta({ description: 'In a row' }),
    failing_since: Time.nullable(),
    problem: z.string().nullable().meta({ description: 'Why the last one failed; null while none does' }),
  })
  .meta({ id: 'Sink' });

const Move = z
  .strictObject({
    position: z.int().min(0).meta({ description: 'Leaf index of the entry that it is to get next' }),
    reason: TextInput.meta({ description: 'In your words; on record' }),
  })
  .meta({ id: 'SinkMove' });

export type SinkBody = z.output<typeof Sink>;

export function sinkRoutes(sinks: Sinks): Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/sinks',
      name: 'listSinks',
      access: 'reader',
      summary: 'List the sinks that the log is forwarded to',
      description: 'With how far each has got; also those that no server has in its settings any more.',
      query: z.strictObject(PAGE_QUERY),
      response: pageSchema('SinkPage', Sink),
      handle: async ({ query }) => {
        const page = cutPage(await sinks.list(), ({ name }) => name, query);
        return { items: page.items.map(sinkBody), next_cursor: page.nextCursor };
      },
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/sinks/{name}/position',
      name: 'moveSink',
      access: 'admin',
      summary: 'Have a sink go on elsewhere in the log',
      description:
        'Back, to send entries again; or over an entry that it will never take, which it then lacks.',
      params: z.strictObject({ name: z.string().max(64) }),
      body: Move,
      response: Sink,
      handle: async ({ params: { name }, body: { position, reason }, caller }) =>
        sinkBody(await sinks.move(name, position, reason, caller.actor)),
    }),
  ];
}

function sinkBody(sink: SinkState): z.input<typeof Sink> {
  return {
    name: sink.name,
    target: sink.target,
    position: sink.position,
    lag_entries: sink.lagEntries,
    lag_seconds: sink.lagSeconds,
    acknowledged_at: sink.acknowledgedAt && timeText(sink.acknowledgedAt),
    failures: sink.failures,
    failing_since: sink.failingSince && timeText(sink.failingSince),
    problem: sink.problem,
  };
}
