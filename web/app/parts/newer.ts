import type { VNode } from 'preact';
import { html } from '../html.ts';
import { type Live, useLive } from '../rest/live.ts';
import { Notice } from './notice.ts';

interface Page<T> {
  readonly items: readonly T[];
}

interface NewerProps<T> {
  /** The path of the list's first row alone. */
  readonly asked: string;
  /** What is shown. */
  readonly shown: Live<Page<T>>;
  readonly keyOf: (row: T) => string;
}

/** How often the newest row is looked at. */
const LOOK_SECONDS = 10;

/** Says that there is something newer, and leaves what is being read in its place. */
export function Newer<T>({ asked, shown, keyOf }: NewerProps<T>): VNode | null {
  const newest = useLive<Page<T>>(asked, LOOK_SECONDS);
  const [first] = newest.data?.items ?? [];
  const [top] = shown.data?.items ?? [];
  const isNewer =
    first !== undefined &&
    newest.loadedAt > shown.loadedAt &&
    (top === undefined || keyOf(first) !== keyOf(top));
  if (!isNewer || newest.loading || shown.loading) return null;
  return html`<${Notice} kind="plain" title="There are newer ones.">
    <button type="button" class="plain" onClick=${shown.reload}>Show them</button>
  <//>`;
}
