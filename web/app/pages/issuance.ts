import type { VNode } from 'preact';
import type { IssuanceDetailsBody } from '../../../src/api/issuances.ts';
import { html } from '../html.ts';
import { Identity } from '../parts/identity.ts';
import { Trouble } from '../parts/notice.ts';
import { useLive } from '../rest/live.ts';
import type { PageProps } from '../routes.ts';

/** One certificate or token: what it says, who vouched for it, which rule allowed it, and the proof of it. */
export function IssuancePage({ params }: PageProps): VNode {
  const live = useLive<IssuanceDetailsBody>(`/v1/issuances/${params.serial}`);
  return html`
    <h1 tabindex="-1">${live.data === undefined ? 'Issuance' : html`<${Identity} id=${live.data.identity} />`}</h1>
    <${Trouble} of=${live} />
  `;
}
