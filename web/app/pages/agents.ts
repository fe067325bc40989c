import type { VNode } from 'preact';
import type { AgentBody } from '../../../src/api/agents.ts';
import { html } from '../html.ts';
import { urlOf } from '../location.ts';
import { Confirm } from '../parts/confirm.ts';
import { Empty, Trouble } from '../parts/notice.ts';
import { type Column, Table } from '../parts/table.ts';
import { Time } from '../parts/time.ts';
import { useLive } from '../rest/live.ts';
import { send } from '../rest/rest.ts';
import { mayChange, useSession } from '../rest/session.ts';
import type { PageProps } from '../routes.ts';
import { FleetTabs } from './fleet-tabs.ts';

interface AgentPage {
  readonly items: readonly AgentBody[];
  readonly next_cursor: string | null;
}

const PAGE_ROWS = 50;
const REFRESH_SECONDS = 5;

const COLUMNS: readonly [Column<AgentBody>, ...Column<AgentBody>[]] = [
  {
    label: 'Node',
    cell: (agent) => html`
      <b>${agent.node}</b>
      <div class="quiet">${agent.method}${agent.version !== null && ` · ${agent.version}`}${agent.last_seen_at !== null && html` · seen <${Time} at=${agent.last_seen_at} />`}</div>
    `,
  },
  {
    label: 'Holds, by its own word',
    cell: ({ health }) =>
      health === null
        ? 'nothing said yet'
        : html`${health.certificates} certificates of ${health.instances} instances${health.failing > 0 && html`, <span class="badge bad">${health.failing} fail to renew</span>`}${health.soonest_end !== null && html`<div class="quiet">the first ends <${Time} at=${health.soonest_end} /></div>`}`,
    wide: true,
  },
  {
    label: 'Attested',
    cell: (agent) =>
      html`<${Time} at=${agent.attested_at} />, ${agent.attestations}× <div class="quiet">anew by <${Time} at=${agent.expires_at} /></div>`,
    wide: true,
  },
  {
    label: 'Record',
    cell: ({ node }) =>
      html`<a href=${urlOf('/issuances', { node })} aria-label="Issuances of node ${node}">issuances</a>`,
    wide: true,
  },
];

/** The agents of other nodes, and the way to shut one out. */
export function AgentsPage({ query }: PageProps): VNode {
  const session = useSession();
  const mayBan = mayChange(session, 'agents');
  const cursor = query.get('cursor');
  const path = `/v1/agents?limit=${PAGE_ROWS}${cursor === null ? '' : `&cursor=${encodeURIComponent(cursor)}`}`;
  const live = useLive<AgentPage>(path, REFRESH_SECONDS);
  const [node, ...others] = COLUMNS;
  const state: Column<AgentBody> = {
    label: 'State',
    cell: (agent) => html`
      <${State} of=${agent} />
      ${mayBan && html`<div><${BanAction} key=${agent.node} of=${agent} changed=${live.reload} /></div>`}
    `,
  };
  const columns = [node, state, ...others];
  const items = live.data?.items;
  return html`
    <h1 tabindex="-1">Agents of other nodes</h1>
    <${FleetTabs} current="/fleet/agents" />
    <${Trouble} of=${live} />
    ${items === undefined && live.error === undefined && html`<p class="quiet" role="status">Loading…</p>`}
    ${
      items?.length === 0 &&
      html`<${Empty} title="No other node has an agent yet.">
        <code>carnet join-token create</code> makes a token; <code>carnet agent --server-addr HOST:8443 --join-token TOKEN</code> joins with it.
        The agent of a server's own node is not among these.
      <//>`
    }
    ${
      items !== undefined &&
      items.length > 0 &&
      html`<${Table} caption="Agents, by node" columns=${columns} rows=${items} busy=${live.loading} keyOf=${({ node }: AgentBody) => node} />`
    }
    <nav class="pager" aria-label="Pages of the list">
      ${cursor !== null && html`<a href=${urlOf('/fleet/agents')}>First</a>`}
      ${live.data?.next_cursor && html`<a href=${urlOf('/fleet/agents', { cursor: live.data.next_cursor })} rel="next">More</a>`}
    </nav>
  `;
}

function State({ of: { ban, connected, serial } }: { of: AgentBody }): VNode {
  if (ban !== null)
    return html`<span class="badge bad">banned</span> <div class="quiet">by ${ban.by} <${Time} at=${ban.at} />: ${ban.reason}</div>`;
  if (connected) return html`<span class="badge good">connected</span>`;
  if (serial === null)
    return html`<span class="badge warn">away</span> <div class="quiet">must be attested anew</div>`;
  return html`<span class="badge warn">away</span>`;
}

function BanAction({ of: { node, ban }, changed }: { of: AgentBody; changed: () => void }): VNode {
  const path = `/v1/agents/${encodeURIComponent(node)}`;
  if (ban !== null)
    return html`<${Confirm} label="Unban ${node}…" title="Lift the ban of ${node}?" verb="Lift it"
      act=${async () => {
        await send('POST', `${path}/unban`);
        changed();
      }}>
      <p>Its certificates count no more: its node must be attested anew before it obtains anything.</p>
    <//>`;
  return html`<${Confirm} label="Ban ${node}…" title="Ban the agent of ${node}?" verb="Ban it" danger
    act=${async ({ reason }: Readonly<Record<string, string>>) => {
      await send('POST', `${path}/ban`, { reason });
      changed();
    }}>
    <p>At once, at every server: it obtains nothing more, and its node is not attested again. What its workloads hold stays valid until it
      ends; <code>carnet revoke --node ${node}</code> ends that too.</p>
    <label><span>Why: on record, and told to the agent</span><input name="reason" required maxlength="500" autocomplete="off" /></label>
  <//>`;
}
