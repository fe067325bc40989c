import { z } from 'zod';
import type { FleetSummary } from '../rotation/fleet-summary.ts';
import { defineRoute, type Route } from './route.ts';

const FleetBody = z
  .strictObject({
    bundle_sequence: z.int().meta({ description: 'Of the trust bundle that was published last' }),
    connected: z.int(),
    away: z.int().meta({ description: 'Not connected, and may still present what they hold' }),
    behind: z.int().meta({ description: 'Connected, and have not acknowledged that bundle' }),
    refusing: z.int().meta({ description: 'Connected, and refused (NACK) what they were sent last' }),
  })
  .meta({ id: 'Fleet' });

export type FleetBody = z.output<typeof FleetBody>;

export function fleetRoutes(summarize: () => Promise<FleetSummary>): Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/fleet',
      name: 'getFleet',
      access: 'reader',
      summary: 'Count the proxies of all nodes, and those that are behind',
      description: 'By what their agents last said. The same from every replica.',
      response: FleetBody,
      handle: async () => {
        const { bundleSequence, connected, away, behind, refusing } = await summarize();
        return { bundle_sequence: bundleSequence, connected, away, behind, refusing };
      },
    }),
  ];
}
