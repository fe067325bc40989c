import type { VNode } from 'preact';
import { html } from '../html.ts';

/** A SPIFFE ID, its trust domain set back: what differs between rows is the path. */
export function Identity({ id }: { id: string }): VNode {
  const [, scheme = '', path = ''] = /^(spiffe:\/\/[^/]+)(.*)$/.exec(id) ?? ['', '', id];
  return html`<span class="identity"><span class="quiet">${scheme}</span>${path}</span>`;
}

/** The beginning of a hash or a serial, whole in its title. */
export function Short({ hex, length = 12 }: { hex: string; length?: number }): VNode {
  return hex.length <= length
    ? html`<code>${hex}</code>`
    : html`<code title=${hex}>${hex.slice(0, length)}…</code>`;
}
