import { z } from 'zod';
import type { ProxyResource, ProxyView } from '../delivery/proxies.ts';
import { PROXY_STATES, type ProxyState, proxyState } from '../delivery/proxy-state.ts';
import { TextInput, Time } from './fields.ts';
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
    state: z.enum(PROXY_STATES).meta({
      description:
        'The worst of: it refused something, asks for a name that it does not get, has not acknowledged all that it was sent',
    }),
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

const ProxyPage = pageSchema('ProxyPage', ProxyBody).extend({
  counts: z
    .strictObject(
      Object.fromEntries(PROXY_STATES.map((state) => [state, z.int()])) as Record<ProxyState, z.ZodInt>,
    )
    .meta({ description: 'Of all that fit `search`, on whichever page' }),
});

const ORDERS = ['connected', 'worst'] as const;

const ProxyParameters = z.strictObject({
  search: TextInput.optional().meta({
    description: 'Part of its name, its instance or one of its identities, in any case',
  }),
  state: z.enum(PROXY_STATES).optional(),
  order: z.enum(ORDERS).optional().meta({
    description: '`worst`: by state, those that refused first; `connected` if not given',
  }),
  ...PAGE_QUERY,
});

export type ProxyBody = z.output<typeof ProxyBody>;
export type ProxyPageBody = z.output<typeof ProxyPage>;
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
        'One item for each open stream of this server, in the order in which they connected: what it was sent, ' +
        'what it acknowledged, was seen to use, and what it waits for. Needs no database.',
      query: ProxyParameters,
      response: ProxyPage,
      handle: ({ query: { search, state, order, ...query } }) => {
        const found = proxies()
          .filter((proxy) => fits(proxy, search?.toLowerCase()))
          .map((proxy) => ({ proxy, state: proxyState(proxy) }));
        const page = cutPage(
          found.filter((one) => state === undefined || one.state === state),
          order === 'worst' ? worstKey : ({ proxy }) => orderKey(proxy),
          query,
        );
        return {
          items: page.items.map((one) => proxyBody(one.proxy, one.state)),
          next_cursor: page.nextCursor,
          counts: countsOf(found.map((one) => one.state)),
        };
      },
    }),
  ];
}

/** Whether `part`, in lower case, is in what a person knows it by. */
function fits({ nodeId, instance, identities }: ProxyView, part: string | undefined): boolean {
  return (
    part === undefined ||
    [nodeId ?? '', instance, ...identities].some((name) => name.toLowerCase().includes(part))
  );
}

function countsOf(states: readonly ProxyState[]): Record<ProxyState, number> {
  const counts = Object.fromEntries(PROXY_STATES.map((state) => [state, 0])) as Record<ProxyState, number>;
  for (const state of states) counts[state]++;
  return counts;
}

/** IDs count up: padded, they sort as numbers do. */
function orderKey({ id }: ProxyView): string {
  return id.padStart(16, '0');
}

function worstKey({ proxy, state }: { readonly proxy: ProxyView; readonly state: ProxyState }): string {
  return `${PROXY_STATES.indexOf(state)} ${orderKey(proxy)}`;
}

function proxyBody(proxy: ProxyView, state: ProxyState): z.input<typeof ProxyBody> {
  return {
    id: proxy.id,
    state,
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
