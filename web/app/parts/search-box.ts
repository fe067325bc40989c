import type { VNode } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { html } from '../html.ts';
import { go, urlOf } from '../location.ts';

/** Between two keys of somebody who types. */
const TYPING_MS = 250;

interface SearchBoxProps {
  /** Of the page, below the UI's own. */
  readonly path: string;
  readonly query: URLSearchParams;
  /** Of the page's URL, where the text is. */
  readonly name: string;
  readonly label: string;
  readonly placeholder: string;
  /** Says as what the text is taken. */
  readonly meaningOf?: (typed: string) => string;
}

/** A search box whose text is in the page's URL; what is typed begins at the first page again. */
export function SearchBox({ path, query, name, label, placeholder, meaningOf }: SearchBoxProps): VNode {
  const inUrl = query.get(name) ?? '';
  const [typed, setTyped] = useState(inUrl);
  const latest = useRef(inUrl);
  const search = (text: string): void => {
    // The first letter leaves a step back to the list as it was; the next ones go over it.
    const replace = latest.current !== '';
    latest.current = text;
    const { cursor: _cursor, ...rest } = Object.fromEntries(query);
    go(urlOf(path, { ...rest, [name]: text.trim() }), { replace });
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
      <label for=${name} class="unseen">${label}</label>
      <input id=${name} type="search" value=${typed} autocomplete="off" spellcheck="false" maxlength="2048"
        placeholder=${placeholder} aria-describedby=${meaningOf && `${name}-meaning`}
        onInput=${(event: Event) => setTyped((event.currentTarget as HTMLInputElement).value)} />
      <kbd aria-hidden="true">/</kbd>
      ${meaningOf && html`<span id="${name}-meaning" class="quiet">${meaningOf(typed)}</span>`}
    </form>
  `;
}
