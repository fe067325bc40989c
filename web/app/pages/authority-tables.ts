import type { ComponentChildren, VNode } from 'preact';
import type { AuthorityBody } from '../../../src/api/authorities.ts';
import type { JwtKeyBody } from '../../../src/api/jwt-keys.ts';
import { html } from '../html.ts';
import { urlOf } from '../location.ts';
import { EventsLink } from '../parts/events-link.ts';
import { Empty } from '../parts/notice.ts';
import { type Column, Table } from '../parts/table.ts';
import { Time, useNow } from '../parts/time.ts';
import { KINDS, type Kind } from './rotation-words.ts';

/** What roots, issuing CAs and keys of JWT-SVIDs have in common. */
export type Authority = Pick<
  AuthorityBody & JwtKeyBody,
  'id' | 'state' | 'key_algorithm' | 'not_before' | 'not_after' | 'created_at'
> & { readonly parent?: string };

const BADGES: Readonly<Record<Authority['state'], string>> = {
  prepared: '',
  published: 'warn',
  active: 'good',
  draining: 'warn',
  retired: '',
  tainted: 'bad',
};

const COLUMNS: readonly Column<Authority>[] = [
  {
    label: 'ID',
    cell: ({ id }) => html`<code>${id}</code>`,
  },
  { label: 'State', cell: ({ state }) => html`<span class="badge ${BADGES[state]}">${state}</span>` },
  { label: 'Life', cell: (one) => html`<${Life} of=${one} />` },
  { label: 'Key', cell: ({ key_algorithm }) => key_algorithm, wide: true },
  {
    label: 'Signed by',
    cell: ({ id, parent }) =>
      parent === undefined ? '–' : parent === id ? 'itself' : html`<code>${parent}</code>`,
    wide: true,
  },
  {
    label: 'Record',
    cell: ({ id, parent }) => html`
      <${EventsLink} filters=${{ subject: id }} label="Events of ${id}" />${' '}
      ${parent !== undefined && parent !== id && html`<a href=${urlOf('/issuances', { authority: id })} aria-label="Issuances of ${id}">issuances</a>`}
    `,
    wide: true,
  },
];

interface AuthorityTableProps {
  readonly kind: Kind;
  /** By time of making. */
  readonly rows: readonly Authority[];
  readonly children?: ComponentChildren;
}

/** Those of a kind that count, and folded away those that are retired; its actions in its heading. */
export function AuthorityTable({ kind, rows, children }: AuthorityTableProps): VNode {
  const name = TITLES[kind];
  const newestFirst = rows.toReversed();
  const living = newestFirst.filter(({ state }) => state !== 'retired');
  const retired = newestFirst.filter(({ state }) => state === 'retired');
  const table = (caption: string, shown: readonly Authority[]): VNode =>
    html`<${Table} caption=${caption} columns=${COLUMNS} rows=${shown} keyOf=${({ id }: Authority) => id} />`;
  return html`
    <section class="authorities">
      <div class="heading"><h2>${name}</h2>${children}</div>
      ${
        living.length === 0
          ? html`<${Empty} title="None.">The server makes the first ${KINDS[kind].name} when it starts: look at its log.<//>`
          : table(name, living)
      }
      ${retired.length > 0 && html`<details><summary>${retired.length} retired</summary>${table(`${name}, retired`, retired)}</details>`}
    </section>
  `;
}

const TITLES: Readonly<Record<Kind, string>> = {
  root: 'Roots',
  issuing: 'Issuing CAs',
  jwt: 'Keys of JWT-SVIDs',
};

/** How much of its life is over, and when it ends. */
function Life({ of: { created_at, not_after, state, id } }: { of: Authority }): VNode {
  const now = useNow();
  const [begin, end] = [Date.parse(created_at), Date.parse(not_after)];
  const percent = Math.min(100, Math.max(0, Math.round(((now - begin) / (end - begin)) * 100)));
  if (state === 'retired')
    return html`<span class="quiet">made <${Time} at=${created_at} />, keys destroyed</span>`;
  return html`
    <div class="life">
      <progress value=${percent} max="100" aria-label="Life of ${id} that is over: ${percent} %"></progress>
      <span class="quiet">${percent} % over, ${end <= now ? 'ended' : 'ends'} <${Time} at=${not_after} /></span>
    </div>
  `;
}
