import type { VNode } from 'preact';
import type { IssuanceDetailsBody } from '../../../src/api/issuances.ts';
import { html } from '../html.ts';
import { urlOf } from '../location.ts';
import { Facts } from '../parts/facts.ts';

/** The registration entry that granted it, as it was then. */
export function IssuanceRule({ record }: { record: IssuanceDetailsBody }): VNode {
  const { granted_by: rule, requester } = record;
  if (rule === null)
    return html`<section class="card"><h2>Rule</h2><p>None: ${requester} had it made, for Carnet's own use.</p></section>`;
  return html`
    <section class="card">
      <h2>Rule as it was</h2>
      <${Facts} of=${[
        [
          'Entry',
          html`<a href=${urlOf('/issuances', { entry: rule.id })}>${rule.id}</a>, version ${rule.version}`,
        ],
        ['Grants', rule.spiffe_id],
        [
          'To whoever has',
          html`<ul class="plain">${rule.selectors.map((one) => html`<li><code>${one}</code></li>`)}</ul>`,
        ],
        ['DNS names', rule.dns_names.join(', ')],
        ['Lifetime', rule.ttl],
        ['Hint', rule.hint],
        ['Federates with', rule.federates_with.join(', ')],
      ]} />
    </section>
  `;
}
