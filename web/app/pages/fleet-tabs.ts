import type { VNode } from 'preact';
import { html } from '../html.ts';
import { urlOf } from '../location.ts';

const TABS = { '/fleet': 'Proxies', '/fleet/agents': 'Agents' } as const;

/** The two pages of the fleet: what is connected, and the other nodes' agents. */
export function FleetTabs({ current }: { current: keyof typeof TABS }): VNode {
  return html`
    <nav class="tabs" aria-label="Of the fleet">
      ${Object.entries(TABS).map(
        ([path, title]) =>
          html`<a href=${urlOf(path)} aria-current=${path === current ? 'page' : null}>${title}</a>`,
      )}
    </nav>
  `;
}
