import { z } from 'zod';
import type { IssuanceQuery } from '../audit/query.ts';
import type { ProxyResource, ProxyView } from '../delivery/proxies.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import { defineRoute, type Route } from './route.ts';

/** Of more, only the number is told. */
const MAX_ITEMS = 1000;
const SERIAL = /^[0-9a-f]{32}$/;
/** A bundle's version: its sequence, and a digest. */
const BUNDLE = /^(\d{1,15})-[0-9a-f]{12}$/;

const UnrecordedBody = z
  .strictObject({
    instance: z.string(),
    node_id: z.string().nullable(),
    resource: z.string(),
    version: z.string().meta({ description: "A certificate's serial, or a trust bundle's version" }),
  })
  .meta({ id: 'Unrecorded' });
const UnrecordedList = z
  .strictObject({
    items: z.array(UnrecordedBody).max(MAX_ITEMS),
    count: z.int().meta({ description: `All of them, where there are more than the ${MAX_ITEMS} items` }),
  })
  .meta({ id: 'UnrecordedList' });

export type UnrecordedListBody = z.output<typeof UnrecordedList>;

export interface UnrecordedParts {
  readonly proxies: () => readonly ProxyView[];
  readonly issuances: IssuanceQuery;
  readonly bundle: () => TrustBundle | undefined;
  /** Milliseconds since the epoch. */
  readonly clock: () => number;
}

export function unrecordedRoutes(parts: UnrecordedParts): Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/proxies/unrecorded',
      name: 'listUnrecorded',
      access: 'reader',
      summary: 'List what proxies hold and the database does not know',
      description:
        'Certificates that are not on record, and trust bundles later than the last one: nothing, unless an older ' +
        'backup was restored. Of the proxies connected to this server, by what they were sent and by what they ' +
        'said, when they connected, that they had.',
      response: UnrecordedList,
      handle: async () => {
        const found = await unrecorded(parts);
        return { items: found.slice(0, MAX_ITEMS), count: found.length };
      },
    }),
  ];
}

async function unrecorded({
  proxies,
  issuances,
  bundle,
  clock,
}: UnrecordedParts): Promise<z.input<typeof UnrecordedBody>[]> {
  const held = proxies().flatMap((proxy) => heldBy(proxy, clock()));
  const serials = new Set(held.map(({ version }) => version).filter((version) => SERIAL.test(version)));
  const unknown = await issuances.unrecorded([...serials]);
  const last = bundle()?.sequence ?? Number.POSITIVE_INFINITY;
  return held.filter(({ version }) => unknown.has(version) || Number(BUNDLE.exec(version)?.[1] ?? 0) > last);
}

/** Each version once that the stream's proxy has, or had and may still be valid. */
function heldBy({ instance, nodeId, connectedAt, resources }: ProxyView, now: number) {
  return resources.flatMap((resource) => {
    const { name, versionSent, versionAcknowledged, versionKept } = resource;
    const kept = mayBeValid(resource, connectedAt, now) ? versionKept : null;
    const versions = new Set([versionSent, versionAcknowledged, kept]);
    versions.delete(null);
    return [...versions].map((version) => ({
      instance,
      node_id: nodeId,
      resource: name,
      version: version ?? '',
    }));
  });
}

/** Nobody knows when what it had ends; what it was sent since has the same lifetime, and began later. */
function mayBeValid({ expiresAt, sentAt }: ProxyResource, connectedAt: number, now: number): boolean {
  return expiresAt === null || sentAt === null || now < connectedAt + (expiresAt - sentAt);
}
