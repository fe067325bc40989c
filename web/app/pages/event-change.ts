import type { VNode } from 'preact';
import type { OperatorEventBody } from '../../../src/api/operator-events.ts';
import { html } from '../html.ts';
import { urlOf } from '../location.ts';

type State = OperatorEventBody['before'];

/** A field of what was changed; undefined where it wasn't there. */
export interface Difference {
  readonly name: string;
  readonly before: string | undefined;
  readonly after: string | undefined;
}

/** The fields that differ, those within others by their path, in the order of what is now. */
export function differencesOf(before: State, after: State): Difference[] {
  const [old, fresh] = [fieldsOf(before), fieldsOf(after)];
  const names = [...fresh.keys(), ...[...old.keys()].filter((name) => !fresh.has(name))];
  return names
    .map((name) => ({ name, before: old.get(name), after: fresh.get(name) }))
    .filter((one) => one.before !== one.after);
}

/** Of what was made or dropped, more than these are folded away. */
const UNFOLDED = 4;

/** What an event changed: the fields that differ, and how many don't. */
export function EventChange({ of: { before, after } }: { of: OperatorEventBody }): VNode | null {
  const changed = differencesOf(before, after);
  if (changed.length === 0) return null;
  const same =
    before === null || after === null
      ? 0
      : fieldsOf(after).size - changed.filter((one) => one.after !== undefined).length;
  const verb = before === null ? 'given' : after === null ? 'dropped' : 'changed';
  return html`
    <details open=${verb === 'changed' || changed.length <= UNFOLDED}>
      <summary>${changed.length} ${changed.length === 1 ? 'field' : 'fields'} ${verb}${same > 0 && `, ${same} as before`}</summary>
      <dl class="change">${changed.map((one) => html`<dt key=${one.name}>${one.name}</dt><dd><${Value} of=${one} /></dd>`)}</dl>
    </details>
  `;
}

function Value({ of: { before, after } }: { of: Difference }): VNode {
  const was = before !== undefined && html`<span class="unseen">was </span><del>${textOf(before)}</del> `;
  if (after === undefined) return html`${was}`;
  return html`${was}${before !== undefined && html`<span aria-hidden="true">→ </span><span class="unseen">now </span>`}<ins>${textOf(after)}</ins>`;
}

function textOf(value: string): string {
  return value === '' ? '(empty)' : value;
}

function fieldsOf(state: State, path = ''): Map<string, string> {
  const fields = new Map<string, string>();
  for (const [name, value] of Object.entries(state ?? {})) {
    const label = `${path}${name.replaceAll('_', ' ')}`;
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      for (const [inner, text] of fieldsOf(value as Record<string, unknown>, `${label} · `))
        fields.set(inner, text);
    else fields.set(label, Array.isArray(value) ? value.map(wordOf).join(', ') : wordOf(value));
  }
  return fields;
}

function wordOf(value: unknown): string {
  if (value === null) return 'none';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** The page of what an event is about; null where there is none. */
export function pageOf({ action, subject }: Pick<OperatorEventBody, 'action' | 'subject'>): string | null {
  const noun = action.slice(0, action.indexOf('.'));
  const issuance = /^GET \/v1\/issuances\/([0-9a-f]+)/.exec(subject)?.[1];
  if (issuance !== undefined) return urlOf(`/issuances/${issuance}`);
  switch (noun) {
    case 'entry':
      return urlOf('/entries', { search: subject });
    case 'authority':
    case 'rotation':
      return urlOf('/authorities');
    case 'revocation':
      return urlOf('/revocations');
    case 'agent':
      return urlOf('/fleet/agents');
    default:
      return null;
  }
}
