import { z } from 'zod';
import type { ProxyResource, ProxyView } from '../delivery/proxies.ts';
import { Time } from './fields.ts';
import { cutPage, PAGE_QUERY, pageSchema } from './page.ts';
import { defineRoute, type Route } from './route.ts';

const ProxyResourceBody = z
  .strictObject({
    name: z.string(),
    version_kept: z
      .string()
      .nullable()
      .meta({ description: 'What it said, when it connected, that it had already; unverified' }),
    version_sent: z.string().nullable(),
    sent_at: Time.nullable(),
    version_acknowledged: z.string().nullable(),
    acknowledged_at: Time.nullable(),
    version_observed: z
      .string()
      .nullable()
      .meta({ description: 'What it was last seen to use, where its admin interface is known' }),
    observed_at: Time.nullable(),
    last_error: z
      .strictObject({ version: z.string(), message: z.string(), at: Time })
      .nullable()
      .meta({ description: 'The last refusal (NACK), until a later version is acknowledged' }),
    expires_at: Time.nullable().meta({ description: 'When the certificate ends; null for a bundle' }),
  })
  .meta({ id: 'ProxyResource' });

const ProxyBody = z
  .strictObject({
    id: z.string(),
    protocol: z.enum(['sds', 'delta-sds', 'workload-api']),
    instance: z.string(),
    connected_at: Time,
    node_id: z.string().nullable().meta({ description: "The proxy's own word for itself, unverified" }),
    node_cluster: z.string().nullable(),
    user_agent: z.string().nullable(),
    identities: z.array(z.string()),
    resources: z.array(ProxyResourceBody),
    waiting: z.array(z.string()).meta({ description: 'Names that it asks for and does not get' }),
  })
  .meta({ id: 'Proxy' });

export type ProxyBody = z.output<typeof ProxyBody>;
export type ProxyResourceBody = z.output<typeof ProxyResourceBody>;

export function proxyRoutes(proxies: () => readonly ProxyView[]): Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/proxies',
      name: 'listProxies',
      access: 'reader',
      summary: 'List the connected proxies',
      description:
        'One item for each open stream, in the order in which they connected: what it was sent, what it ' +
        'acknowledged, was seen to use, and what it waits for. Needs no database.',
      query: z.strictObject(PAGE_QUERY),
      response: pageSchema('ProxyPage', ProxyBody),
      handle: ({ query }) => {
        const page = cutPage(proxies(), orderKey, query);
        return { items: page.items.map(proxyBody), next_cursor: page.nextCursor };
      },
    }),
  ];
}

/** IDs count up: padded, they sort as numbers do. */
function orderKey({ id }: ProxyView): string {
  return id.padStart(16, '0');
}

function proxyBody(proxy: ProxyView): z.input<typeof ProxyBody> {
  return {
    id: proxy.id,
    protocol: proxy.protocol,
    instance: proxy.instance,
    connected_at: millisText(proxy.connectedAt),
    node_id: proxy.nodeId,
    node_cluster: proxy.nodeCluster,
    user_agent: proxy.userAgent,
    identities: [...proxy.identities],
    resources: proxy.resources.map(resourceBody),
    waiting: [...proxy.waiting],
  };
}

function resourceBody(resource: ProxyResource): z.input<typeof ProxyResourceBody> {
  const { lastError } = resource;
  return {
    name: resource.name,
    version_kept: resource.versionKept,
    version_sent: resource.versionSent,
    sent_at: millisOrNull(resource.sentAt),
    version_acknowledged: resource.versionAcknowledged,
    acknowledged_at: millisOrNull(resource.acknowledgedAt),
    version_observed: resource.versionObserved,
    observed_at: millisOrNull(resource.observedAt),
    last_error: lastError && { ...lastError, at: millisText(lastError.at) },
    expires_at: millisOrNull(resource.expiresAt),
  };
}

function millisText(millis: number): string {
  return new Date(millis).toISOString();
}

function millisOrNull(millis: number | null): string | null {
  return millis === null ? null : millisText(millis);
}
