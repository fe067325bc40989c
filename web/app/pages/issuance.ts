import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import type { ExplanationBody } from '../../../src/api/explanation.ts';
import type { IssuanceDetailsBody } from '../../../src/api/issuances.ts';
import { html } from '../html.ts';
import { urlOf } from '../location.ts';
import { Copy, Download } from '../parts/copy.ts';
import { Facts, factsOf } from '../parts/facts.ts';
import { Identity } from '../parts/identity.ts';
import { Trouble } from '../parts/notice.ts';
import { ExactTime, useNow } from '../parts/time.ts';
import { useLive } from '../rest/live.ts';
import type { PageProps } from '../routes.ts';
import { IssuanceProof } from './issuance-proof.ts';
import { IssuanceRevocation } from './issuance-revocation.ts';
import { IssuanceReason, IssuanceRule } from './issuance-rule.ts';

/** How often one that is not in the log yet is looked at: it is there within a second. */
const UNLOGGED_SECONDS = 2;

/** One certificate or token: what it says, who vouched for it, which rule allowed it, and the proof of it. */
export function IssuancePage({ params }: PageProps): VNode {
  const [isLogged, setLogged] = useState(false);
  const path = `/v1/issuances/${encodeURIComponent(params.serial ?? '')}`;
  const live = useLive<IssuanceDetailsBody>(path, isLogged ? null : UNLOGGED_SECONDS);
  const record = live.data;
  if (record !== undefined && record.log !== null && !isLogged) setLogged(true);
  return html`
    <p class="trail"><a href=${urlOf('/issuances')}>Issuances</a></p>
    <h1 tabindex="-1">${record === undefined ? 'Issuance' : html`<${Identity} id=${record.identity} />`}</h1>
    <${Trouble} of=${live} />
    ${record === undefined ? live.error === undefined && html`<p class="quiet" role="status">Loading…</p>` : html`<${Details} record=${record} reload=${live.reload} />`}
  `;
}

function Details({ record, reload }: { record: IssuanceDetailsBody; reload: () => void }): VNode {
  const why = useLive<ExplanationBody>(
    record.granted_by === null ? null : `/v1/issuances/${record.serial}/explanation`,
  );
  return html`
    <p class="badges"><${State} of=${record} /> <span class="badge">${record.profile}</span></p>
    <div class="columns">
      <div>
        <${Contents} record=${record} />
        <${Holder} record=${record} />
        ${record.granted_by !== null && html`<${IssuanceReason} why=${why} />`}
      </div>
      <div>
        <${IssuanceProof} record=${record} />
        <${IssuanceRule} record=${record} why=${why} />
        <${IssuanceRevocation} record=${record} changed=${reload} />
      </div>
    </div>
  `;
}

function State({ of: { not_before, not_after, revocation } }: { of: IssuanceDetailsBody }): VNode {
  const now = useNow();
  if (revocation !== null) return html`<span class="badge bad">revoked</span>`;
  if (Date.parse(not_after) <= now) return html`<span class="badge">ended</span>`;
  if (Date.parse(not_before) > now) return html`<span class="badge warn">not valid yet</span>`;
  return html`<span class="badge good">valid</span>`;
}

/** What the certificate, or the token, says. */
function Contents({ record }: { record: IssuanceDetailsBody }): VNode {
  const { decoded, token, certificate, serial } = record;
  return html`
    <section class="card">
      <h2>${token === null ? 'Certificate' : 'JWT-SVID'}</h2>
      <${Facts} of=${[
        ['Serial', html`<code>${serial}</code> <${Copy} text=${serial} what="the serial" />`],
        ['Valid from', html`<${ExactTime} at=${record.not_before} />`],
        ['Valid until', html`<${ExactTime} at=${record.not_after} />`],
        ['Recorded', html`<${ExactTime} at=${record.recorded_at} />`],
        ['Names', decoded && html`<${Lines} of=${decoded.subject_alt_names} />`],
        ['Subject', decoded?.subject],
        ['Issuer', decoded?.issuer],
        ['Signed by', link({ authority: record.authority })],
        ['Key', decoded && `${decoded.public_key}${decoded.ca ? ', of a CA' : ''}`],
        ['SHA-256', html`<code>${record.certificate_sha256}</code>`],
        ['Key SHA-256', html`<code>${record.public_key_sha256}</code>`],
        ...(token === null ? [] : [...factsOf(token.header, 'header · '), ...factsOf(token.claims)]),
      ]} />
      ${
        certificate !== null &&
        html`<details>
          <summary>PEM</summary>
          <pre tabindex="0" aria-label="The certificate, PEM">${certificate}</pre>
        </details>
        <p class="actions">
          <${Copy} text=${certificate} what="the certificate" />
          <${Download} text=${certificate} name="${serial}.pem" label="Download PEM" />
        </p>`
      }
      ${token !== null && html`<p class="quiet">A token is recorded without its signature: whoever reads this cannot use it.</p>`}
    </section>
  `;
}

/** Whom it was given to, and what attestation saw. */
function Holder({ record }: { record: IssuanceDetailsBody }): VNode {
  const { evidence, node, instance, requester } = record;
  return html`
    <section class="card">
      <h2>Holder and evidence</h2>
      <${Facts} of=${[
        ['Instance', instance && link({ instance })],
        ['Node', node && link({ node })],
        ['Requested by', requester],
      ]} />
      ${
        evidence === null
          ? html`<p class="quiet">Nobody was attested: this is an authority's or a server's own.</p>`
          : html`<h3>What attestation saw</h3><${Facts} of=${factsOf(withoutSelectors(evidence))} />`
      }
    </section>
  `;
}

/** They are what rules were held against, and stand there. */
function withoutSelectors({
  selectors: _,
  ...seen
}: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return seen;
}

/** A value, and the way to all issuances that share it. */
function link(query: Readonly<Record<string, string>>): VNode {
  return html`<a href=${urlOf('/issuances', query)}>${Object.values(query).join()}</a>`;
}

function Lines({ of: lines }: { of: readonly string[] }): VNode {
  return html`${lines.map((line) => html`<div>${line}</div>`)}`;
}
