import type { VNode } from 'preact';
import type { RotationBody } from '../../../src/api/rotations.ts';
import { html } from '../html.ts';
import { urlOf } from '../location.ts';
import { Notice } from '../parts/notice.ts';
import { useLive } from '../rest/live.ts';
import { amount, isActivated, KINDS } from './rotation-words.ts';

const REFRESH_SECONDS = 5;
const NAMED = 5;

/** Who of the fleet holds up which rotation, and why. */
export function FleetRotations(): VNode | null {
  const live = useLive<{ readonly items: readonly RotationBody[] }>('/v1/rotations', REFRESH_SECONDS);
  const held = live.data?.items.filter((one) => countOf(one) > 0) ?? [];
  if (held.length === 0) return null;
  return html`${held.map((rotation) => {
    const named = isActivated(rotation) ? rotation.presenters : rotation.laggards;
    const count = countOf(rotation);
    return html`
      <${Notice} key=${rotation.kind} kind="warn" title=${`The ${KINDS[rotation.kind].name} rotation waits for ${amount(count, 'consumer')}.`}>
        <ul>
          ${named.slice(0, NAMED).map(({ names, instance, node, why }) => html`<li key=${`${node} ${instance}`}>${names.join(', ') || instance} on ${node} ${why}</li>`)}
          ${count > NAMED && html`<li>and ${count - NAMED} more</li>`}
        </ul>
        <a href=${urlOf('/authorities')}>See the rotation</a>
      <//>
    `;
  })}`;
}

function countOf(rotation: RotationBody): number {
  return isActivated(rotation) ? rotation.presenter_count : rotation.laggard_count;
}
