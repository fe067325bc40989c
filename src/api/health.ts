import { z } from 'zod';
import type { Metrics } from '../metrics.ts';
import { defineRoute, type Route } from './route.ts';

/** Whether this server can issue now, and if not, why. */
export interface Readiness {
  readonly ready: boolean;
  readonly checks: readonly ReadinessCheck[];
}

export interface ReadinessCheck {
  /** `database`, `authority`: a word that stays the same. */
  readonly name: string;
  readonly ok: boolean;
  /** For people: what is wrong and what to do, or how well it is. */
  readonly detail: string;
}

const ReadinessBody = z
  .strictObject({
    ready: z.boolean(),
    checks: z.array(z.strictObject({ name: z.string(), ok: z.boolean(), detail: z.string() })),
  })
  .meta({ id: 'Readiness' });

export type ReadinessBody = z.output<typeof ReadinessBody>;

export function healthRoutes(readiness: () => Readiness, metrics: Metrics): Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/healthz',
      name: 'getHealth',
      access: 'public',
      summary: 'Tell whether the process lives',
      description: 'Always 200: what could fail is in `/readyz`. A restart mends nothing that it tells.',
      response: z.strictObject({ status: z.literal('ok') }).meta({ id: 'Health' }),
      unlimited: true,
      handle: () => ({ status: 'ok' }) as const,
    }),
    defineRoute({
      method: 'GET',
      path: '/readyz',
      name: 'getReadiness',
      access: 'public',
      summary: 'Tell whether the server can issue',
      description: '503 with the reasons while it can not. What was delivered before keeps working.',
      response: ReadinessBody,
      statuses: [200, 503],
      statusOf: ({ ready }) => (ready ? 200 : 503),
      unlimited: true,
      handle: () => {
        const { ready, checks } = readiness();
        return { ready, checks: checks.map(({ name, ok, detail }) => ({ name, ok, detail })) };
      },
    }),
    defineRoute({
      method: 'GET',
      path: '/metrics',
      name: 'getMetrics',
      access: 'public',
      summary: 'Get the metrics',
      description: 'In the Prometheus text format. They name no identity.',
      response: z.string(),
      mediaType: metrics.contentType,
      handle: () => metrics.scrape(),
    }),
  ];
}
