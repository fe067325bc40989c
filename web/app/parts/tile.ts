import type { ComponentChildren, VNode } from 'preact';
import { html } from '../html.ts';

interface TileProps {
  readonly title: string;
  /** Of the page that has more of it. */
  readonly href?: string;
  readonly figure: string | undefined;
  readonly unit: string;
  readonly children?: ComponentChildren;
}

/** A number that matters, and what is to be known about it. Its height is kept while the number is on its way. */
export function Tile({ title, href, figure, unit, children }: TileProps): VNode {
  return html`
    <section class="card tile">
      <h2>${href === undefined ? title : html`<a href=${href}>${title}</a>`}</h2>
      <p class="figure"><b>${figure ?? '–'}</b> <span class="quiet">${unit}</span></p>
      ${children}
    </section>
  `;
}
