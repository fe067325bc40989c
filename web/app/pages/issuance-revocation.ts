import type { VNode } from 'preact';
import type { IssuanceDetailsBody } from '../../../src/api/issuances.ts';
import type { RevocationReason } from '../../../src/x509/revocation-reason.ts';
import { html } from '../html.ts';
import { Confirm } from '../parts/confirm.ts';
import { Facts } from '../parts/facts.ts';
import { ExactTime } from '../parts/time.ts';
import { send } from '../rest/rest.ts';
import { mayChange, useSession } from '../rest/session.ts';

interface RevocationProps {
  readonly record: IssuanceDetailsBody;
  readonly changed: () => void;
}

/** RFC 5280 §5.3.1, of those that a person would choose here. */
const REASONS: readonly RevocationReason[] = [
  'unspecified',
  'keyCompromise',
  'superseded',
  'cessationOfOperation',
  'privilegeWithdrawn',
];

/** What ended it before its time, or the way to do so. */
export function IssuanceRevocation({ record, changed }: RevocationProps): VNode {
  const session = useSession();
  const { revocation, serial, token, decoded } = record;
  const isLeaf = token === null && decoded?.ca === false;
  const revoke = async ({ reason_code, reason }: Readonly<Record<string, string>>): Promise<void> => {
    await send('POST', '/v1/revocations', { serial, reason_code, reason });
    changed();
  };
  return html`
    <section class="card">
      <h2>Revocation</h2>
      ${
        revocation === null
          ? html`<p>Not revoked.</p>`
          : html`<${Facts} of=${[
              ['Revoked', html`<${ExactTime} at=${revocation.revoked_at} />`],
              ['By', revocation.actor],
              ['Reason', `${revocation.reason_code}${revocation.reason ? `: ${revocation.reason}` : ''}`],
            ]} />`
      }
      ${
        revocation === null &&
        isLeaf &&
        mayChange(session, 'revocations') &&
        html`<${Confirm} label="Revoke…" title="Revoke this certificate?" verb="Revoke it" danger act=${revoke}>
          <p>Every proxy refuses ${record.identity} with the serial <code>${serial}</code> as soon as it has the new CRL: within a
            second, where it is connected. Its instance gets no further certificate for this identity by itself. This can't be taken back.</p>
          <label><span>Reason code</span>
            <select name="reason_code">${REASONS.map((one) => html`<option>${one}</option>`)}</select></label>
          <label><span>Why, for the record</span><input name="reason" maxlength="500" autocomplete="off" /></label>
        <//>`
      }
    </section>
  `;
}
