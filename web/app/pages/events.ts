import type { VNode } from 'preact';
import type { OperatorEventBody } from '../../../src/api/operator-events.ts';
import { html } from '../html.ts';
import { urlOf } from '../location.ts';
import { Newer } from '../parts/newer.ts';
import { Empty, Trouble } from '../parts/notice.ts';
import { ExactTime } from '../parts/time.ts';
import { type Live, useLive } from '../rest/live.ts';
import type { PageProps } from '../routes.ts';
import { EventChange, pageOf } from './event-change.ts';
import { EVENT_FILTERS, type EventFilter, EventFilters } from './event-filters.ts';
import { timeOf } from './issuance-search.ts';

interface EventPage {
  readonly items: readonly OperatorEventBody[];
  readonly next_cursor: string | null;
}

const PAGE_ROWS = 50;

/** What operators and schedules changed, newest first, with what was before and after. */
export function EventsPage({ query }: PageProps): VNode {
  const { cursor, ...filters } = Object.fromEntries(query);
  const asked = askedOf(query);
  const live = useLive<EventPage>(pathOf({ ...asked, limit: String(PAGE_ROWS), ...(cursor && { cursor }) }));
  const next = live.data?.next_cursor ?? undefined;
  const count = live.data?.items.length ?? 0;
  return html`
    <h1 tabindex="-1">Operators' events</h1>
    <${EventFilters} query=${query} />
    <${Trouble} of=${live} />
    ${cursor === undefined && live.error === undefined && html`<${Newer} asked=${pathOf({ ...asked, limit: '1' })} shown=${live} keyOf=${keyOf} />`}
    <${Stream} live=${live} />
    <nav class="pager" aria-label="Pages of the list">
      ${cursor !== undefined && html`<a href=${urlOf('/events', filters)}>Newest</a>`}
      ${next !== undefined && html`<a href=${urlOf('/events', { ...filters, cursor: next })} rel="next">Older</a>`}
      <span class="quiet" role="status">${count > 0 && `${count} shown${next === undefined ? ', to the end' : ''}`}</span>
    </nav>
  `;
}

function Stream({ live: { data, error, loading } }: { live: Live<EventPage> }): VNode {
  if (data === undefined)
    return error === undefined ? html`<p class="quiet" role="status">Loading…</p>` : html``;
  if (data.items.length === 0)
    return html`<${Empty} title="No event fits.">Take a filter away, or <a href=${urlOf('/events')}>show everything</a>.<//>`;
  return html`<ol class="stream" aria-busy=${loading}>${data.items.map((event) => html`<${EventItem} key=${keyOf(event)} of=${event} />`)}</ol>`;
}

function EventItem({ of: event }: { of: OperatorEventBody }): VNode {
  const { actor, action, subject, reason, recorded_at, log_index } = event;
  const page = pageOf(event);
  return html`
    <li class="event">
      <h2><code>${action}</code> ${page === null ? subject : html`<a href=${page}>${subject}</a>`}</h2>
      <p>by <a href=${urlOf('/events', { actor })}>${actor}</a>, <${ExactTime} at=${recorded_at} />
        ${' · '}<a href=${urlOf('/events', { subject })} aria-label="All events of ${subject}">all events</a>
        <span class="quiet"> · ${log_index === null ? 'not in the log yet' : `log entry ${log_index}`}</span></p>
      ${reason !== '' && html`<p><q>${reason}</q></p>`}
      <${EventChange} of=${event} />
    </li>
  `;
}

function keyOf({ recorded_at, action, subject }: OperatorEventBody): string {
  return `${recorded_at} ${action} ${subject}`;
}

function askedOf(query: URLSearchParams): Record<string, string> {
  const given = (Object.keys(EVENT_FILTERS) as EventFilter[]).flatMap((filter): [string, string][] => {
    const value = query.get(filter)?.trim();
    if (!value) return [];
    return [[filter, filter === 'from' || filter === 'to' ? timeOf(value) : value]];
  });
  return Object.fromEntries(given);
}

function pathOf(query: Readonly<Record<string, string>>): string {
  return `/v1/operator-events?${new URLSearchParams(query)}`;
}
