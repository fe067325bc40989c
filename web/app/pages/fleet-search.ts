import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { html } from '../html.ts';
import { go, urlOf } from '../location.ts';

/** Between two keys of somebody who types. */
const TYPING_MS = 250;

interface SearchProps {
  /** Of the page, below the UI's own. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly label: string;
  readonly placeholder: string;
}

/** A search box whose text is `search` of the page's URL; what is typed begins at the first page again. */
export function FleetSearch({ path, query, label, placeholder }: SearchProps): VNode {
  const inUrl = query.get('search') ?? '';
  const [typed, setTyped] = useState(inUrl);
  const latest = useRef(inUrl);
  const search = (text: string): void => {
    // The first letter leaves a step back to the list as it was; the next ones go over it.
    const replace = latest.current !== '';
    latest.current = text;
    const { cursor: _cursor, ...rest } = Object.fromEntries(query);
    go(urlOf(path, { ...rest, search: text.trim() }), { replace });
  };
  // Back and forward change the URL under the box.
  useEffect(() => {
    if (inUrl !== latest.current.trim()) setTyped(inUrl);
    latest.current = inUrl;
  }, [inUrl]);
  useEffect(() => {
    if (typed === latest.current) return;
    const timer = setTimeout(() => search(typed), TYPING_MS);
    return () => clearTimeout(timer);
  }, [typed]);
  const submit = (event: SubmitEvent): void => {
    event.preventDefault();
    search(typed);
  };
  return html`
    <form class="search" role="search" onSubmit=${submit}>
      <label for="search" class="unseen">${label}</label>
      <input id="search" type="search" value=${typed} autocomplete="off" spellcheck="false" maxlength="2048" placeholder=${placeholder}
        onInput=${(event: Event) => setTyped((event.currentTarget as HTMLInputElement).value)} />
      <kbd aria-hidden="true">/</kbd>
    </form>
  `;
}
