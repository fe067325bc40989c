import type { VNode } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { AuthorityBody } from '../../../src/api/authorities.ts';
import type { JwtKeyBody } from '../../../src/api/jwt-keys.ts';
import type { RotationBody } from '../../../src/api/rotations.ts';
import { html } from '../html.ts';
import { Trouble } from '../parts/notice.ts';
import { Time } from '../parts/time.ts';
import { useLive } from '../rest/live.ts';
import { mayChange, useSession } from '../rest/session.ts';
import { type Authority, AuthorityTable } from './authority-tables.ts';
import { RotateAction, RotationActions, TaintAction } from './rotation-actions.ts';
import { RotationLaggards, RotationTimeline } from './rotation-timeline.ts';
import { KINDS, type Kind, standingOf } from './rotation-words.ts';
import { EndedRotations } from './rotations-ended.ts';

interface List<T> {
  readonly items: readonly T[];
}

/** While one is under way, each step is seen as it comes. */
const LIVE_SECONDS = 1;
const IDLE_SECONDS = 10;

/** Who signs, for how long, and what is being replaced: with the operator's actions, for whom they are. */
export function AuthoritiesPage(): VNode {
  const session = useSession();
  const mayRotate = mayChange(session, 'rotations');
  const [isLive, setLive] = useState(false);
  const rotations = useLive<List<RotationBody>>('/v1/rotations', isLive ? LIVE_SECONDS : IDLE_SECONDS);
  const open = rotations.data?.items ?? [];
  if (rotations.data !== undefined && isLive !== open.length > 0) setLive(open.length > 0);
  // Whatever this says has changed the authorities too.
  const changes = open.map(({ kind, phase, new_id }) => [kind, phase, new_id].join(' ')).join();
  const authorities = useLive<List<AuthorityBody>>('/v1/authorities', IDLE_SECONDS);
  const jwtKeys = useLive<List<JwtKeyBody>>('/v1/jwt-keys', IDLE_SECONDS);
  useEffect(() => {
    authorities.reload();
    jwtKeys.reload();
  }, [changes]);
  const rowsOf = (kind: Kind): readonly Authority[] | undefined =>
    kind === 'jwt' ? jwtKeys.data?.items : authorities.data?.items.filter((one) => one.kind === kind);
  return html`
    <h1 tabindex="-1">Authorities</h1>
    <${Trouble} of=${rotations} />
    <${Trouble} of=${authorities} />
    <${Trouble} of=${jwtKeys} />
    <p class="unseen" role="status">${open.map(standingOf).join(' ')}</p>
    ${rotations.data !== undefined && open.length === 0 && html`<p>No rotation is under way.</p>`}
    ${open.map(
      (rotation) =>
        html`<${RotationCard} key=${rotation.kind} of=${rotation} mayRotate=${mayRotate} changed=${rotations.reload} />`,
    )}
    ${(['root', 'issuing', 'jwt'] as const).map((kind) => {
      const rows = rowsOf(kind);
      const signing = signerOf(rows ?? []);
      const canBegin = mayRotate && signing !== undefined && !open.some((one) => one.kind === kind);
      return (
        rows !== undefined &&
        html`<${AuthorityTable} key=${kind} kind=${kind} rows=${rows}>
          ${
            canBegin &&
            html`<div class="actions">
              <${RotateAction} kind=${kind} changed=${rotations.reload} />
              <${TaintAction} kind=${kind} id=${signing.id} changed=${rotations.reload} />
            </div>`
          }
        <//>`
      );
    })}
    <${EndedRotations} changes=${changes} />
  `;
}

/** A tainted one signs until its successor does. */
function signerOf<T extends { readonly state: string }>(rows: readonly T[]): T | undefined {
  return (
    rows.findLast(({ state }) => state === 'active') ?? rows.findLast(({ state }) => state === 'tainted')
  );
}

interface RotationCardProps {
  readonly of: RotationBody;
  readonly mayRotate: boolean;
  readonly changed: () => void;
}

function RotationCard({ of: rotation, mayRotate, changed }: RotationCardProps): VNode {
  const { kind, old_id, new_id, hands_free, urgent, actor, reason, started_at } = rotation;
  return html`
    <section class="card rotation" aria-label="${KINDS[kind].title} rotation under way">
      <div class="heading">
        <h2>${KINDS[kind].title} rotation: ${rotation.phase}</h2>
        <p class="badges">
          ${urgent && html`<span class="badge bad">compromised</span>`}
          <span class="badge">${hands_free ? 'by itself' : 'step by step'}</span>
        </p>
      </div>
      <p><code>${old_id}</code> → <code>${new_id ?? 'a new one'}</code> <span class="quiet">begun by ${actor} <${Time} at=${started_at} />${reason !== '' && `: ${reason}`}</span></p>
      <div class="columns">
        <${RotationTimeline} of=${rotation} />
        <${RotationLaggards} of=${rotation} />
      </div>
      ${mayRotate && html`<${RotationActions} of=${rotation} changed=${changed} />`}
    </section>
  `;
}
