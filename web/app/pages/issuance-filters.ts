import type { VNode } from 'preact';
import { html } from '../html.ts';
import { go, urlOf } from '../location.ts';
import { SearchBox } from '../parts/search-box.ts';
import { FILTERS, type Filter, meaningOf } from './issuance-search.ts';

/** What the filters' form asks for; the rest is found by the search box or by links. */
const TEXTS: readonly Filter[] = [
  'identity',
  'node',
  'entry',
  'instance',
  'requester',
  'profile',
  'authority',
];
const TIMES: readonly Filter[] = ['from', 'to', 'valid_at'];

/** The search box and the filters. What they say is the page's URL, which so can be shared. */
export function IssuanceFilters({ query }: { query: URLSearchParams }): VNode {
  const given = (Object.keys(FILTERS) as Filter[]).filter((filter) => query.get(filter));
  return html`
    <${SearchBox} path="/issuances" query=${query} name="q" label="Search issuances"
      placeholder="Identity, serial, fingerprint or instance" meaningOf=${meaningText} />
    <${FilterForm} query=${query} count=${given.length} />
    ${
      given.length > 0 &&
      html`<ul class="chips" aria-label="Filters in force">
        ${given.map(
          (filter) => html`<li><a href=${urlOf('/issuances', without(query, filter, 'cursor'))}
            aria-label="Take away the filter ${FILTERS[filter]} ${query.get(filter)}">
            <b>${FILTERS[filter]}</b> ${query.get(filter)} <span aria-hidden="true">×</span></a></li>`,
        )}
      </ul>`
    }
  `;
}

const REVOKED = [
  ['', 'either'],
  ['true', 'only revoked'],
  ['false', 'not revoked'],
] as const;

/** Values are what the form begins with: a refresh must not take away what is being typed. */
function FilterForm({ query, count }: { query: URLSearchParams; count: number }): VNode {
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const chosen = Object.fromEntries(new FormData(event.currentTarget as HTMLFormElement)) as Record<
      string,
      string
    >;
    go(urlOf('/issuances', { ...without(query, 'cursor'), ...chosen }));
  };
  const field = (filter: Filter, type: string): VNode => html`
    <label><span>${FILTERS[filter]}${type === 'datetime-local' ? ', UTC' : ''}</span>
      <input name=${filter} type=${type} defaultValue=${query.get(filter) ?? ''} autocomplete="off" spellcheck="false" /></label>
  `;
  return html`
    <details class="filters">
      <summary>Filters${count > 0 ? ` (${count})` : ''}</summary>
      <form key=${String(query)} onSubmit=${submit}>
        ${TEXTS.map((filter) => field(filter, 'text'))}
        <label><span>Revoked</span>
          <select name="revoked">
            ${REVOKED.map(
              ([value, label]) =>
                html`<option value=${value} selected=${value === (query.get('revoked') ?? '')}>${label}</option>`,
            )}
          </select></label>
        ${TIMES.map((filter) => field(filter, 'datetime-local'))}
        <button type="submit" class="main">Apply</button>
      </form>
    </details>
  `;
}

function meaningText(typed: string): string {
  const meaning = meaningOf(typed);
  if (meaning === undefined) return '';
  return `${FILTERS[meaning.filter]}: ${meaning.value}`;
}

function without(query: URLSearchParams, ...names: readonly string[]): Record<string, string> {
  return Object.fromEntries([...query].filter(([name]) => !names.includes(name)));
}
