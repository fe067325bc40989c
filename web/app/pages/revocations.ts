import type { VNode } from 'preact';
import type { DenialBody } from '../../../src/api/revocations.ts';
import { html } from '../html.ts';
import { urlOf } from '../location.ts';
import { Confirm } from '../parts/confirm.ts';
import { EventsLink } from '../parts/events-link.ts';
import { Identity } from '../parts/identity.ts';
import { Empty, Trouble } from '../parts/notice.ts';
import { type Column, Table } from '../parts/table.ts';
import { Time } from '../parts/time.ts';
import { useLive } from '../rest/live.ts';
import { send } from '../rest/rest.ts';
import { mayChange, useSession } from '../rest/session.ts';

/** A list of what operators did by hand: so many are read, not scrolled. */
const SHOWN = 200;
const REFRESH_SECONDS = 10;

const COLUMNS: readonly Column<DenialBody>[] = [
  {
    label: 'Refused',
    cell: ({ identity, instance, node }) => html`
      ${identity !== null && html`<div><a href=${urlOf('/issuances', { identity })}><${Identity} id=${identity} /></a></div>`}
      ${instance !== null && html`<div>instance <a href=${urlOf('/issuances', { instance })}>${instance}</a></div>`}
      ${node !== null && html`<div>node <a href=${urlOf('/issuances', { node })}>${node}</a></div>`}
    `,
  },
  {
    label: 'State',
    cell: ({ lifted_at, created_at }) =>
      lifted_at === null
        ? html`<span class="badge bad">refused</span> <span class="quiet">since <${Time} at=${created_at} /></span>`
        : html`<span class="badge">lifted</span> <span class="quiet"><${Time} at=${lifted_at} /></span>`,
  },
  {
    label: 'By, and why',
    cell: ({ actor, reason }) =>
      html`${actor}${reason !== '' && html`<span class="quiet">: ${reason}</span>`}`,
    wide: true,
  },
];

/** What was revoked, and is refused since. */
export function RevocationsPage(): VNode {
  const session = useSession();
  const mayLift = mayChange(session, 'revocations');
  const live = useLive<{ readonly items: readonly DenialBody[] }>('/v1/revocations', REFRESH_SECONDS);
  const newest = live.data?.items.toSorted((a, b) => b.id - a.id) ?? [];
  const columns = [
    ...COLUMNS,
    {
      label: 'Record',
      cell: (denial: DenialBody) => html`
        <${EventsLink} filters=${{ subject: String(denial.id), action: 'revocation.' }} label="Events of revocation ${denial.id}" />
        ${mayLift && denial.lifted_at === null && html`<div><${LiftAction} of=${denial} changed=${live.reload} /></div>`}
      `,
    },
  ];
  return html`
    <h1 tabindex="-1">Revocations</h1>
    <p>What is refused when it asks for a certificate. The certificates themselves: <a href=${urlOf('/issuances', { revoked: 'true' })}>issuances that were revoked</a>.</p>
    <${Trouble} of=${live} />
    ${live.data === undefined && live.error === undefined && html`<p class="quiet" role="status">Loading…</p>`}
    ${
      live.data !== undefined &&
      newest.length === 0 &&
      html`<${Empty} title="Nothing was ever revoked.">
        A certificate is revoked on its own page; an identity, an instance or a node by <code>carnet revoke</code>.
      <//>`
    }
    ${
      newest.length > 0 &&
      html`<${Table} caption="What is refused, and what was, newest first" columns=${columns} rows=${newest.slice(0, SHOWN)} busy=${live.loading}
        keyOf=${({ id }: DenialBody) => String(id)} />`
    }
    ${newest.length > SHOWN && html`<p class="quiet">The last ${SHOWN} of ${newest.length}. All of them: <code>GET /v1/revocations</code>.</p>`}
  `;
}

function LiftAction({
  of: { id, identity, instance, node },
  changed,
}: {
  of: DenialBody;
  changed: () => void;
}): VNode {
  const what = [identity, instance, node].filter((one) => one !== null).join(', ');
  return html`<${Confirm} key=${id} label="Lift revocation ${id}…" title="Let ${what} have certificates again?" verb="Lift it"
    act=${async () => {
      await send('DELETE', `/v1/revocations/${id}`);
      changed();
    }}>
    <p>It may obtain certificates again. What was revoked stays revoked.</p>
  <//>`;
}
