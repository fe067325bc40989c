import type { VNode } from 'preact';
import type { EntryBody } from '../../../src/api/entries.ts';
import { html } from '../html.ts';
import { urlOf } from '../location.ts';
import { EventsLink } from '../parts/events-link.ts';
import { Identity } from '../parts/identity.ts';
import { Empty, Trouble } from '../parts/notice.ts';
import { SearchBox } from '../parts/search-box.ts';
import { type Column, Table } from '../parts/table.ts';
import { type Live, useLive } from '../rest/live.ts';
import type { PageProps } from '../routes.ts';

interface EntryPage {
  readonly items: readonly EntryBody[];
  readonly next_cursor: string | null;
}

const PAGE_ROWS = 50;
const REFRESH_SECONDS = 30;

const COLUMNS: readonly Column<EntryBody>[] = [
  {
    label: 'Entry',
    cell: ({ id, spiffe_id, version }) => html`
      <b>${id}</b> <span class="quiet">version ${version}</span>
      <div><${Identity} id=${spiffe_id} /></div>
    `,
  },
  {
    label: 'Selectors, all of which must fit',
    cell: ({ selectors }) =>
      html`<ul class="secrets">${selectors.map((one) => html`<li key=${one}><code>${one}</code></li>`)}</ul>`,
  },
  {
    label: 'Grants',
    cell: ({ ttl, dns_names, federates_with, hint }) =>
      [
        `${ttl ?? 'the default'} of life`,
        dns_names.length > 0 && dns_names.join(', '),
        federates_with.length > 0 && `federates with ${federates_with.join(', ')}`,
        hint !== null && hint !== '' && `hint ${hint}`,
      ]
        .filter(Boolean)
        .join(' · '),
    wide: true,
  },
  {
    label: 'Record',
    cell: ({ id }) => html`
      <a href=${urlOf('/issuances', { entry: id })} aria-label="Issuances by ${id}">issuances</a>${' '}
      <${EventsLink} filters=${{ subject: id, action: 'entry.' }} label="Versions of ${id}" text="versions" />
    `,
  },
];

/** Who gets which identity: the registration entries, with the record of their versions. */
export function EntriesPage({ query }: PageProps): VNode {
  const { search, cursor } = Object.fromEntries(query);
  const asked = new URLSearchParams({
    limit: String(PAGE_ROWS),
    ...(search && { search }),
    ...(cursor && { cursor }),
  });
  const live = useLive<EntryPage>(`/v1/entries?${asked}`, REFRESH_SECONDS);
  const next = live.data?.next_cursor;
  return html`
    <h1 tabindex="-1">Registration entries</h1>
    <${SearchBox} name="search" path="/entries" query=${query} label="Search entries" placeholder="ID, SPIFFE ID or selector" />
    <${Trouble} of=${live} />
    <${Rows} live=${live} isFiltered=${search !== undefined} />
    <nav class="pager" aria-label="Pages of the list">
      ${cursor !== undefined && html`<a href=${urlOf('/entries', { search })}>First</a>`}
      ${next && html`<a href=${urlOf('/entries', { search, cursor: next })} rel="next">More</a>`}
    </nav>
  `;
}

function Rows({
  live: { data, error, loading },
  isFiltered,
}: {
  live: Live<EntryPage>;
  isFiltered: boolean;
}): VNode {
  if (data === undefined)
    return error === undefined ? html`<p class="quiet" role="status">Loading…</p>` : html``;
  if (data.items.length > 0)
    return html`<${Table} caption="Registration entries, by ID" columns=${COLUMNS} rows=${data.items} busy=${loading}
      keyOf=${({ id }: EntryBody) => id} />`;
  return isFiltered
    ? html`<${Empty} title="No entry fits."><a href=${urlOf('/entries')}>Show all</a>.<//>`
    : html`<${Empty} title="Nobody gets an identity yet.">
        <code>carnet entry create --spiffe-id /web --selector unix:uid:1000</code> makes an entry; <code>carnet entry apply FILE</code> many.
      <//>`;
}
