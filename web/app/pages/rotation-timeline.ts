import type { VNode } from 'preact';
import type { RotationBody } from '../../../src/api/rotations.ts';
import { html } from '../html.ts';
import { Time, useNow } from '../parts/time.ts';
import { amount, type Gate, isActivated, type Step, stepsOf } from './rotation-words.ts';

const STATES: Readonly<Record<Step['state'], { readonly sign: string; readonly word: string }>> = {
  done: { sign: '✓', word: 'done' },
  now: { sign: '…', word: 'next' },
  ahead: { sign: '', word: 'later' },
};
const GATES: Readonly<Record<Gate['state'], { readonly word: string; readonly badge: string }>> = {
  ahead: { word: 'later', badge: '' },
  closed: { word: 'closed', badge: 'warn' },
  open: { word: 'open', badge: 'good' },
  passed: { word: 'passed', badge: 'good' },
};

/** The steps of a rotation, each with the gate that it waits for. */
export function RotationTimeline({ of: rotation }: { of: RotationBody }): VNode {
  const now = useNow();
  return html`
    <ol class="timeline">
      ${stepsOf(rotation, now).map(
        (step) => html`
          <li key=${step.name} class=${step.state} aria-current=${step.state === 'now' ? 'step' : null}>
            <span class="dot" aria-hidden="true">${STATES[step.state].sign}</span>
            <div>
              <h3>${step.name} <span class="quiet">${STATES[step.state].word}</span></h3>
              ${step.gate !== null && html`<${GateView} of=${step.gate} rotation=${rotation} />`}
              <p class=${step.state === 'done' ? 'quiet' : ''}>${step.text}</p>
            </div>
          </li>
        `,
      )}
    </ol>
  `;
}

function GateView({ of: gate, rotation }: { of: Gate; rotation: RotationBody }): VNode {
  const { word, badge } = GATES[gate.state];
  return html`
    <div class="gate ${gate.state}">
      <p><b>Gate:</b> ${gate.name} <span class="badge ${badge}">${word}</span></p>
      ${gate.state !== 'ahead' && gate.state !== 'passed' && html`<p>${gate.text} <${GoesOn} rotation=${rotation} isOpen=${gate.state === 'open'} /></p>`}
      ${gate.bars.length > 0 && html`<ul class="counted">${gate.bars.map(Bar)}</ul>`}
    </div>
  `;
}

function Bar({ label, done, of }: Gate['bars'][number]): VNode {
  return html`
    <li key=${label}>
      <span>${label}</span>
      <progress value=${of === 0 ? 1 : done} max=${of === 0 ? 1 : of} aria-label="${label}: ${done} of ${of}"></progress>
      <span class="numeric">${done} of ${of}</span>
    </li>
  `;
}

/** When it goes on, and by whose doing. */
function GoesOn({ rotation, isOpen }: { rotation: RotationBody; isOpen: boolean }): VNode {
  const { hands_free, open_by, requested } = rotation;
  const verb = isActivated(rotation) ? 'retire' : 'activate';
  const goesOn = hands_free || requested === verb;
  if (isOpen)
    return goesOn
      ? html`It goes on by itself within seconds.`
      : html`Nothing holds it up: <b>${verb} it</b> when you want to.`;
  const then = goesOn ? 'goes on by itself' : `waits for you to ${verb} it`;
  return open_by === null
    ? html`As soon as they are ready, it ${then}.`
    : html`Waiting alone opens it <${Time} at=${open_by} /> at the latest; then it ${then}.`;
}

/** Who holds the next step up, and why: as many as the server names. */
export function RotationLaggards({ of: rotation }: { of: RotationBody }): VNode | null {
  const activated = isActivated(rotation);
  const named = activated ? rotation.presenters : rotation.laggards;
  const count = activated ? rotation.presenter_count : rotation.laggard_count;
  if (named.length === 0) return null;
  return html`
    <section class="laggards" aria-label="Who holds it up">
      <h3>${amount(count, 'consumer')} ${count === 1 ? 'holds' : 'hold'} it up</h3>
      <ul>
        ${named.map(
          ({ instance, node, names, why, until, problem }) => html`
            <li key=${`${node} ${instance}`}>
              <b>${names.join(', ') || instance}</b> on ${node} ${why}${until !== null && html`, until <${Time} at=${until} /> at the latest`}.
              ${problem !== null && html`<br />It says: <q>${problem}</q>`}
              ${names.length > 0 && html`<br /><span class="quiet">${instance}</span>`}
            </li>
          `,
        )}
      </ul>
      ${count > named.length && html`<p class="quiet">…and ${count - named.length} more.</p>`}
    </section>
  `;
}
