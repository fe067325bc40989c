import type { VNode } from 'preact';
import type { ProxyBody, ProxyResourceBody } from '../../../src/api/proxies.ts';
import { html } from '../html.ts';
import { urlOf } from '../location.ts';
import { Identity, Short } from '../parts/identity.ts';
import { Time } from '../parts/time.ts';

/** Of one proxy; it may have some hundred, which would hide the next one. */
const SHOWN = 4;

/** Whom it speaks for. */
export function ProxyIdentities({ of: { identities, instance } }: { of: ProxyBody }): VNode {
  const link = (id: string): VNode =>
    html`<div key=${id}><a href=${urlOf('/issuances', { identity: id, instance })}><${Identity} id=${id} /></a></div>`;
  return html`
    ${identities.slice(0, SHOWN).map(link)}
    ${identities.length > SHOWN && html`<div><a href=${urlOf('/issuances', { instance })}>and ${identities.length - SHOWN} more identities</a></div>`}
  `;
}

/** What it was sent, and made of it; and what it asks for in vain. */
export function ProxySecrets({ of: { resources, waiting, protocol } }: { of: ProxyBody }): VNode {
  return html`
    <ul class="secrets">
      ${resources.slice(0, SHOWN).map((one) => html`<${Secret} key=${one.name} of=${one} acknowledges=${protocol !== 'workload-api'} />`)}
      ${resources.length > SHOWN && html`<li class="quiet">and ${resources.length - SHOWN} more: <code>carnet proxies</code></li>`}
      ${waiting.slice(0, SHOWN).map((name) => html`<li key="waits ${name}">waits for <code>${name}</code>: no rule gives it, or nobody holds it</li>`)}
    </ul>
  `;
}

function Secret({ of: one, acknowledges }: { of: ProxyResourceBody; acknowledges: boolean }): VNode {
  const {
    name,
    version_sent,
    version_acknowledged,
    version_observed,
    version_kept,
    last_error,
    sent_at,
    expires_at,
  } = one;
  return html`
    <li>
      <b>${name}</b>${' '}
      ${version_sent === null ? html`had <${Version} of=${version_kept} /> already` : html`<${Version} of=${version_sent} /> sent <${Time} at=${sent_at} />`},${' '}
      ${
        version_acknowledged === null
          ? acknowledges
            ? 'not acknowledged'
            : 'cannot acknowledge'
          : version_acknowledged === version_sent
            ? 'acknowledged'
            : html`acknowledged <${Version} of=${version_acknowledged} /> last`
      },${' '}
      ${version_observed === null ? 'not observed' : version_observed === version_acknowledged ? 'observed' : html`observed <${Version} of=${version_observed} />`}
      ${expires_at !== null && html`<span class="quiet">, ends <${Time} at=${expires_at} /></span>`}
      ${last_error !== null && html`<div><span class="badge bad">refused</span> <${Time} at=${last_error.at} />: <q>${last_error.message}</q></div>`}
    </li>
  `;
}

function Version({ of: version }: { of: string | null }): VNode {
  return html`<${Short} hex=${version ?? '–'} length=${10} />`;
}
