import type { VNode } from 'preact';
import { html } from '../html.ts';

/** Carnet's sign: a booklet with a seal. */
export function Mark(): VNode {
  return html`
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
      <rect x="5" y="2" width="22" height="28" rx="3" />
      <circle cx="16" cy="13" r="6.5" /><path d="M13 13.2l2.2 2.3 4-4.6M10 24h12" />
    </svg>
  `;
}
