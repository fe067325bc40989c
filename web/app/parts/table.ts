import type { ComponentChildren, VNode } from 'preact';
import { html } from '../html.ts';

export interface Column<T> {
  readonly label: string;
  readonly cell: (row: T) => ComponentChildren;
  /** Right-aligned, for amounts. */
  readonly numeric?: boolean;
  /** Left out on a phone, where the row's own page has it. */
  readonly wide?: boolean;
}

interface TableProps<T> {
  /** What the table is of: read out, not shown. */
  readonly caption: string;
  readonly columns: readonly Column<T>[];
  readonly rows: readonly T[];
  readonly keyOf: (row: T) => string;
  /** While other rows are on their way. */
  readonly busy?: boolean;
}

/** Rows under headings. The first column names the row. */
export function Table<T>({ caption, columns, rows, keyOf, busy = false }: TableProps<T>): VNode {
  const classOf = ({ numeric, wide }: Column<T>): string =>
    [numeric && 'numeric', wide && 'wide'].filter(Boolean).join(' ');
  const cell = (column: Column<T>, index: number, row: T): VNode =>
    index === 0
      ? html`<th scope="row" class=${classOf(column)}>${column.cell(row)}</th>`
      : html`<td class=${classOf(column)}>${column.cell(row)}</td>`;
  return html`
    <table aria-busy=${busy}>
      <caption class="unseen">${caption}</caption>
      <thead>
        <tr>${columns.map((column) => html`<th scope="col" class=${classOf(column)}>${column.label}</th>`)}</tr>
      </thead>
      <tbody>
        ${rows.map((row) => html`<tr key=${keyOf(row)}>${columns.map((column, index) => cell(column, index, row))}</tr>`)}
      </tbody>
    </table>
  `;
}
