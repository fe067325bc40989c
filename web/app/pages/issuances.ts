import type { VNode } from 'preact';
import type { IssuanceBody } from '../../../src/api/issuances.ts';
import { html } from '../html.ts';
import { urlOf } from '../location.ts';
import { Identity, Short } from '../parts/identity.ts';
import { Newer } from '../parts/newer.ts';
import { Empty, Trouble } from '../parts/notice.ts';
import { type Column, Table } from '../parts/table.ts';
import { Time, useNow } from '../parts/time.ts';
import { type Live, useLive } from '../rest/live.ts';
import type { PageProps } from '../routes.ts';
import { IssuanceFilters } from './issuance-filters.ts';
import { askedOf } from './issuance-search.ts';

interface IssuancePageBody {
  readonly items: readonly IssuanceBody[];
  readonly next_cursor: string | null;
}

/** Rows of a page: more would be scrolled, not read. */
const PAGE_ROWS = 50;

const COLUMNS: readonly Column<IssuanceBody>[] = [
  {
    label: 'Identity',
    cell: (row) => html`<a href=${urlOf(`/issuances/${row.serial}`)}><${Identity} id=${row.identity} /></a>`,
  },
  { label: 'Recorded', cell: (row) => html`<${Time} at=${row.recorded_at} />` },
  { label: 'Validity', cell: (row) => html`<${Validity} of=${row} />` },
  { label: 'Profile', cell: (row) => row.profile, wide: true },
  { label: 'Rule', cell: (row) => row.entry ?? '–', wide: true },
  { label: 'Node', cell: (row) => row.node ?? '–', wide: true },
  { label: 'Serial', cell: (row) => html`<${Short} hex=${row.serial} />`, wide: true },
];

/** Every certificate and token there ever was, newest first: as many as a page holds, by filters that are in the URL. */
export function IssuancesPage({ query }: PageProps): VNode {
  const asked = askedOf(query);
  const cursor = query.get('cursor') ?? undefined;
  const path = pathOf({ ...asked, limit: String(PAGE_ROWS), cursor });
  const live = useLive<IssuancePageBody>(path);
  return html`
    <h1 tabindex="-1">Issuances</h1>
    <${IssuanceFilters} query=${query} />
    <${Trouble} of=${live} />
    ${cursor === undefined && html`<${Newer} asked=${pathOf({ ...asked, limit: '1' })} shown=${live} keyOf=${({ serial }: IssuanceBody) => serial} />`}
    <${Rows} live=${live} />
    <${Pager} query=${query} live=${live} />
  `;
}

function Rows({ live }: { live: Live<IssuancePageBody> }): VNode {
  const { data, error, loading } = live;
  if (data === undefined)
    return error === undefined ? html`<p class="quiet" role="status">Loading…</p>` : html``;
  if (data.items.length === 0)
    return html`<${Empty} title="Nothing on record fits.">
      Take a filter away, or <a href=${urlOf('/issuances')}>show everything</a>. Filters must all fit.
    <//>`;
  return html`<${Table} caption="Issuances, newest first" columns=${COLUMNS} rows=${data.items} busy=${loading}
    keyOf=${(row: IssuanceBody) => row.serial} />`;
}

function Pager({ query, live }: { query: URLSearchParams; live: Live<IssuancePageBody> }): VNode {
  const { cursor, ...filters } = Object.fromEntries(query);
  const next = live.data?.next_cursor ?? undefined;
  const count = live.data?.items.length ?? 0;
  return html`
    <nav class="pager" aria-label="Pages of the list">
      ${cursor !== undefined && html`<a href=${urlOf('/issuances', filters)}>Newest</a>`}
      ${next !== undefined && html`<a href=${urlOf('/issuances', { ...filters, cursor: next })} rel="next">Older</a>`}
      <span class="quiet" role="status">${count === 0 ? '' : `${count} shown${next === undefined ? ', to the end' : ''}`}</span>
    </nav>
  `;
}

function Validity({ of: { not_before: begin, not_after: end } }: { of: IssuanceBody }): VNode {
  const now = useNow();
  if (Date.parse(end) <= now) return html`<span class="quiet">ended <${Time} at=${end} /></span>`;
  return Date.parse(begin) > now ? html`begins <${Time} at=${begin} />` : html`ends <${Time} at=${end} />`;
}

function pathOf(query: Readonly<Record<string, string | undefined>>): string {
  const given = Object.entries(query).filter((pair): pair is [string, string] => pair[1] !== undefined);
  return `/v1/issuances?${new URLSearchParams(given)}`;
}
