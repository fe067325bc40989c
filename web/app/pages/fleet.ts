import type { VNode } from 'preact';
import type { FleetBody } from '../../../src/api/fleet.ts';
import type { ProxyBody, ProxyPageBody } from '../../../src/api/proxies.ts';
import { html } from '../html.ts';
import { urlOf } from '../location.ts';
import { Empty, Trouble } from '../parts/notice.ts';
import { SearchBox } from '../parts/search-box.ts';
import { type Column, Table } from '../parts/table.ts';
import { Time } from '../parts/time.ts';
import { type Live, useLive } from '../rest/live.ts';
import type { PageProps } from '../routes.ts';
import { ProxyIdentities, ProxySecrets } from './fleet-proxy.ts';
import { FleetRotations } from './fleet-rotations.ts';
import { FleetTabs } from './fleet-tabs.ts';

type State = ProxyBody['state'];

const PAGE_ROWS = 50;
const REFRESH_SECONDS = 5;

const STATES: Readonly<Record<State, { readonly badge: string; readonly title: string }>> = {
  refused: { badge: 'bad', title: 'Refused the newest version' },
  waiting: { badge: 'warn', title: 'Waits for a secret' },
  behind: { badge: 'warn', title: 'Not acknowledged yet' },
  current: { badge: 'good', title: 'Has all it was sent' },
};

const COLUMNS: readonly Column<ProxyBody>[] = [
  {
    label: 'Proxy',
    cell: (proxy) => html`
      <b>${proxy.node_id ?? proxy.instance}</b>
      <${ProxyIdentities} of=${proxy} />
      <div class="quiet">${proxy.node_id !== null && `${proxy.instance} · `}${proxy.protocol}, connected <${Time} at=${proxy.connected_at} /></div>
      <div class="narrow"><${ProxySecrets} of=${proxy} /></div>
    `,
  },
  {
    label: 'State',
    cell: ({ state }) =>
      html`<span class="badge ${STATES[state].badge}" title=${STATES[state].title}>${state}</span>`,
  },
  {
    label: 'Secrets: sent, acknowledged, observed',
    cell: (proxy) => html`<${ProxySecrets} of=${proxy} />`,
    wide: true,
  },
];

/** The proxies that are connected: what each was sent and made of it, those first that need somebody. */
export function FleetPage({ query }: PageProps): VNode {
  const { search, state, cursor } = Object.fromEntries(query);
  const asked = urlQuery({ order: 'worst', limit: String(PAGE_ROWS), search, state, cursor });
  const live = useLive<ProxyPageBody>(`/v1/proxies?${asked}`, REFRESH_SECONDS);
  const fleet = useLive<FleetBody>('/v1/fleet', REFRESH_SECONDS);
  return html`
    <h1 tabindex="-1">Fleet</h1>
    <${FleetTabs} current="/fleet" />
    <${FleetRotations} />
    <${Trouble} of=${fleet} />
    ${fleet.data !== undefined && html`<${WholeFleet} of=${fleet.data} />`}
    <h2>Connected to this server</h2>
    <${SearchBox} name="search" path="/fleet" query=${query} label="Search proxies" placeholder="Name, instance or identity" />
    <${Trouble} of=${live} />
    ${live.data !== undefined && html`<${Tallies} counts=${live.data.counts} query=${query} />`}
    <${Rows} live=${live} isFiltered=${search !== undefined || state !== undefined} />
    <${Pager} query=${query} live=${live} />
  `;
}

/** By what the agents of all nodes last said. */
function WholeFleet({
  of: { connected, behind, refusing, away, bundle_sequence },
}: {
  of: FleetBody;
}): VNode {
  return html`
    <section>
      <h2>All nodes</h2>
      <p>${connected} connected, ${behind} of them have not acknowledged bundle ${bundle_sequence}, ${refusing} refuse what they were sent;
        ${' '}${away} away that may still present what they hold.</p>
    </section>
  `;
}

function Tallies({ counts, query }: { counts: ProxyPageBody['counts']; query: URLSearchParams }): VNode {
  const { cursor: _cursor, state: chosen, ...rest } = Object.fromEntries(query);
  const all = Object.values(counts).reduce((sum, count) => sum + count, 0);
  const tally = (label: string, count: number, state?: State): VNode => html`
    <li key=${label}><a href=${urlOf('/fleet', { ...rest, state })} aria-current=${chosen === state ? 'true' : null}><b>${count}</b> ${label}</a></li>
  `;
  return html`
    <ul class="tallies" aria-label="Proxies by state">
      ${tally('all', all)}
      ${(Object.keys(STATES) as State[]).map((state) => tally(state, counts[state], state))}
    </ul>
  `;
}

function Rows({ live, isFiltered }: { live: Live<ProxyPageBody>; isFiltered: boolean }): VNode {
  const { data, error, loading } = live;
  if (data === undefined)
    return error === undefined ? html`<p class="quiet" role="status">Loading…</p>` : html``;
  if (data.items.length > 0)
    return html`<${Table} caption="Connected proxies, those first that need somebody" columns=${COLUMNS} rows=${data.items} busy=${loading}
      keyOf=${({ id }: ProxyBody) => id} />`;
  return isFiltered
    ? html`<${Empty} title="No proxy fits."><a href=${urlOf('/fleet')}>Show all</a>.<//>`
    : html`<${Empty} title="No proxy is connected to this server.">
        Point an Envoy at the agent's socket: <code>carnet envoy bootstrap</code> prints its configuration. Proxies of other nodes are at
        their own agents: they count above, and for rotations.
      <//>`;
}

function Pager({ query, live }: { query: URLSearchParams; live: Live<ProxyPageBody> }): VNode | null {
  const { cursor, ...filters } = Object.fromEntries(query);
  const next = live.data?.next_cursor ?? undefined;
  if (cursor === undefined && next === undefined) return null;
  return html`
    <nav class="pager" aria-label="Pages of the list">
      ${cursor !== undefined && html`<a href=${urlOf('/fleet', filters)}>First</a>`}
      ${next !== undefined && html`<a href=${urlOf('/fleet', { ...filters, cursor: next })} rel="next">More</a>`}
    </nav>
  `;
}

function urlQuery(query: Readonly<Record<string, string | undefined>>): URLSearchParams {
  return new URLSearchParams(
    Object.entries(query).filter((pair): pair is [string, string] => Boolean(pair[1])),
  );
}
