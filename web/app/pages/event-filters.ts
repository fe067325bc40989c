import type { VNode } from 'preact';
import { html } from '../html.ts';
import { go, urlOf } from '../location.ts';

/** Filters of `GET /v1/operator-events`, and of the page's URL. */
export const EVENT_FILTERS = {
  actor: 'Actor',
  action: 'Action',
  subject: 'Subject',
  from: 'From',
  to: 'Before',
} as const;
export type EventFilter = keyof typeof EVENT_FILTERS;

const HINTS: Readonly<Partial<Record<EventFilter, string>>> = {
  actor: 'operator:ann',
  action: 'entry. or rotation.force',
  subject: 'ID of what was changed',
};

/** What is looked for; it is in the page's URL, which so can be shared. */
export function EventFilters({ query }: { query: URLSearchParams }): VNode {
  const given = (Object.keys(EVENT_FILTERS) as EventFilter[]).filter((filter) => query.get(filter));
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    const chosen = new FormData(event.currentTarget as HTMLFormElement);
    go(urlOf('/events', Object.fromEntries(chosen) as Record<string, string>));
  };
  const without = (filter: EventFilter): Record<string, string> =>
    Object.fromEntries([...query].filter(([name]) => name !== filter && name !== 'cursor'));
  // Values are what the form begins with: a refresh must not take away what is being typed.
  return html`
    <details class="filters" open=${given.length > 0}>
      <summary>Filters, times are UTC</summary>
      <form key=${String(query)} onSubmit=${submit}>
        ${(Object.entries(EVENT_FILTERS) as [EventFilter, string][]).map(
          ([filter, label]) => html`
            <label><span>${label}</span>
              <input name=${filter} type=${filter === 'from' || filter === 'to' ? 'datetime-local' : 'text'} defaultValue=${query.get(filter) ?? ''}
                placeholder=${HINTS[filter] ?? ''} autocomplete="off" spellcheck="false" maxlength="2048" /></label>
          `,
        )}
        <button type="submit" class="main">Apply</button>
      </form>
    </details>
    ${
      given.length > 0 &&
      html`<ul class="chips" aria-label="Filters in force">
        ${given.map(
          (filter) => html`<li key=${filter}><a href=${urlOf('/events', without(filter))}
            aria-label="Take away the filter ${EVENT_FILTERS[filter]} ${query.get(filter)}">
            <b>${EVENT_FILTERS[filter]}</b> ${query.get(filter)} <span aria-hidden="true">×</span></a></li>`,
        )}
      </ul>`
    }
  `;
}
