import type { VNode } from 'preact';
import type { LogBody } from '../../../src/api/log.ts';
import { html } from '../html.ts';
import { Trouble } from '../parts/notice.ts';
import { useLive } from '../rest/live.ts';

/** How things stand, at a glance. */
export function OverviewPage(): VNode {
  const log = useLive<LogBody>('/v1/log', 5);
  return html`
    <h1 tabindex="-1">Overview</h1>
    <${Trouble} of=${log} />
    <p>${log.data === undefined ? 'Loading…' : `${log.data.size} entries in the log`}</p>
  `;
}
