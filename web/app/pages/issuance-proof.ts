import type { VNode } from 'preact';
import { useState } from 'preact/hooks';
import type { IssuanceDetailsBody } from '../../../src/api/issuances.ts';
import type { LogBody } from '../../../src/api/log.ts';
import { html } from '../html.ts';
import { checkIssuance, type Step } from '../proof/check-issuance.ts';
import { useLive } from '../rest/live.ts';

/** What a step's outcome is called, and its sign. */
const OUTCOMES = {
  holds: { sign: '✓', word: 'holds', kind: 'good' },
  fails: { sign: '✕', word: 'does not hold', kind: 'bad' },
  open: { sign: '–', word: 'not checked', kind: '' },
} as const;

/** The proof that it is in the log, verified here and now by the browser, by whichever key the auditor trusts. */
export function IssuanceProof({ record }: { record: IssuanceDetailsBody }): VNode {
  const log = useLive<LogBody>('/v1/log');
  const [steps, setSteps] = useState<readonly Step[] | null>(null);
  const served = log.data?.verifier_key ?? '';
  const verify = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    const own = String(new FormData(event.currentTarget as HTMLFormElement).get('key') ?? '').trim();
    const witnesses = log.data?.witnesses.map(({ verifier_key }) => verifier_key) ?? [];
    setSteps(await checkIssuance(record, { log: own === '' ? served : own, witnesses }));
  };
  return html`
    <section class="card proof" aria-labelledby="proof">
      <h2 id="proof">Proof</h2>
      ${record.log === null ? html`<p role="status">Not in the log yet: it is within a second or two, and this page sees it then.</p>` : html`<${VerifyForm} serial=${record.serial} served=${served} verify=${verify} />`}
      <div aria-live="polite">${steps !== null && html`<${Outcome} steps=${steps} />`}</div>
    </section>
  `;
}

function VerifyForm({
  serial,
  served,
  verify,
}: {
  serial: string;
  served: string;
  verify: (event: SubmitEvent) => Promise<void>;
}): VNode {
  return html`
    <form onSubmit=${verify}>
      <p>Everything is computed in this browser, from the bytes that came with this record. To take it along:${' '}
        <code>carnet audit prove ${serial}</code>.</p>
      <button type="submit" class="main" disabled=${served === ''}>Verify proof</button>
      <details>
        <summary>By which key</summary>
        <label><span>The log's verifier key, as you kept it from elsewhere; empty: this server's own word for it</span>
          <input name="key" autocomplete="off" spellcheck="false" placeholder=${served} /></label>
      </details>
    </form>
  `;
}

function Outcome({ steps }: { steps: readonly Step[] }): VNode {
  const failed = steps.filter(({ outcome }) => outcome === 'fails').length;
  return html`
    <p class="stamp ${failed === 0 ? 'good' : 'bad'}">${failed === 0 ? 'Verified' : 'Does not hold'}</p>
    <ol class="steps">
      ${steps.map(({ title, outcome, detail }) => {
        const { sign, word, kind } = OUTCOMES[outcome];
        return html`<li class=${outcome}>
          <span class="sign ${kind}" aria-hidden="true">${sign}</span>
          <div><b>${title}</b> <span class="unseen">${word}.</span><p class="quiet">${detail}</p></div>
        </li>`;
      })}
    </ol>
  `;
}
