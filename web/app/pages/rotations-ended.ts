import type { VNode } from 'preact';
import { useEffect } from 'preact/hooks';
import type { EndedRotationBody } from '../../../src/api/rotations.ts';
import { html } from '../html.ts';
import { EventsLink } from '../parts/events-link.ts';
import { Empty, Trouble } from '../parts/notice.ts';
import { type Column, Table } from '../parts/table.ts';
import { durationText, Time } from '../parts/time.ts';
import { useLive } from '../rest/live.ts';
import { KINDS } from './rotation-words.ts';

interface EndedPage {
  readonly items: readonly EndedRotationBody[];
  readonly next_cursor: string | null;
}

const SHOWN = 20;

const COLUMNS: readonly Column<EndedRotationBody>[] = [
  {
    label: 'Rotation',
    cell: ({ kind, old_id, new_id }) =>
      html`${KINDS[kind].title} <code>${old_id}</code> → <code>${new_id ?? 'none'}</code>`,
  },
  {
    label: 'Ended',
    cell: ({ outcome, finished_at }) =>
      html`<span class="badge ${outcome === 'done' ? 'good' : 'warn'}">${outcome}</span> <${Time} at=${finished_at} />`,
  },
  {
    label: 'Took',
    cell: ({ started_at, finished_at }) => durationText(Date.parse(finished_at) - Date.parse(started_at)),
    wide: true,
  },
  {
    label: 'By, and why',
    cell: ({ actor, reason, urgent }) =>
      html`${urgent && html`<span class="badge bad">compromised</span> `}${actor}${reason !== '' && html`<span class="quiet">: ${reason}</span>`}`,
    wide: true,
  },
  {
    label: 'Record',
    cell: ({ old_id, new_id }) =>
      html`<${EventsLink} filters=${{ subject: new_id ?? old_id }} label="Events of ${new_id ?? old_id}" />`,
    wide: true,
  },
];

/** The rotations that are over; `changes` is another value whenever one may have ended. */
export function EndedRotations({ changes }: { changes: string }): VNode {
  const live = useLive<EndedPage>(`/v1/rotations/ended?limit=${SHOWN}`);
  useEffect(live.reload, [changes]);
  const items = live.data?.items;
  return html`
    <section>
      <h2>Rotations that are over</h2>
      <${Trouble} of=${live} />
      ${items?.length === 0 && html`<${Empty} title="None yet.">Those that you or a schedule begin are listed here when they are over.<//>`}
      ${
        items !== undefined &&
        items.length > 0 &&
        html`<${Table} caption="Rotations that are over, the last one first" columns=${COLUMNS} rows=${items}
          keyOf=${({ id }: EndedRotationBody) => String(id)} />`
      }
      ${live.data?.next_cursor && html`<p class="quiet">The last ${SHOWN}. All of them: <code>GET /v1/rotations/ended</code>.</p>`}
    </section>
  `;
}
