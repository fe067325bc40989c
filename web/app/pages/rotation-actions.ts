import type { VNode } from 'preact';
import type { RotationBody } from '../../../src/api/rotations.ts';
import { html } from '../html.ts';
import { Confirm } from '../parts/confirm.ts';
import { useNow } from '../parts/time.ts';
import { RestError, send } from '../rest/rest.ts';
import { forceWarning, isActivated, isHeld, KINDS, type Kind } from './rotation-words.ts';

type Fields = Readonly<Record<string, string>>;

interface ActionsProps {
  readonly of: RotationBody;
  readonly changed: () => void;
}

/** What an operator may do about a rotation under way. The server looks at the gates again, and may refuse. */
export function RotationActions({ of: rotation, changed }: ActionsProps): VNode {
  const { kind, hands_free, urgent } = rotation;
  const activated = isActivated(rotation);
  const step = activated ? 'retire' : 'activate';
  const isClosed = isHeld(rotation, useNow());
  const ask = (request: 'activate' | 'retire' | 'abort', force: boolean) => async (fields: Fields) => {
    await send('POST', `/v1/rotations/${kind}`, { request, force, reason: fields.reason ?? '' });
    changed();
  };
  // Of an issuing CA there is nothing to retire, and after its activation no way back; nor of a key with tokens out.
  const canAbort = !activated || kind === 'root';
  const isLater = rotation.new_id === null || rotation.phase === 'publishing';
  return html`
    <div class="actions">
      ${
        !hands_free &&
        !isLater &&
        html`<${Confirm} key=${`step-${step}`} label="${STEPS[step].label}…" title=${STEPS[step].title(rotation)} verb=${STEPS[step].label}
          act=${ask(step, false)}>
          <p>${STEPS[step].text(rotation)}</p>
          ${isClosed && html`<p><b>Its gate is closed:</b> the server will refuse, and name who would be broken.</p>`}
          <${Reason} />
        <//>`
      }
      ${
        !hands_free &&
        html`<${Confirm} key="resume" label="Let it go on by itself…" title="Let it go on by itself?" verb="Let it go on"
          act=${async (fields: Fields) => {
            await send('POST', '/v1/rotations', { kind, hands_free: true, reason: fields.reason ?? '' });
            changed();
          }}>
          <p>From here on each gate opens the next step by itself, as soon as nobody is waited for any more.</p>
          <${Reason} />
        <//>`
      }
      ${
        canAbort &&
        html`<${Confirm} key="abort" label=${activated ? 'Go back…' : 'Abort…'} title=${activated ? `Go back to ${rotation.old_id}?` : 'Abort this rotation?'}
          verb=${activated ? 'Go back' : 'Abort it'} act=${ask('abort', false)}>
          <p>${
            activated
              ? `The two change places: ${rotation.old_id} signs again and ${rotation.new_id} drains. Both are trusted everywhere, so this breaks nobody.`
              : `${rotation.new_id ?? 'What is new'} is dropped; ${rotation.old_id} goes on as before. This breaks nobody.`
          }</p>
          <${Reason} />
        <//>`
      }
      ${
        !isLater &&
        html`<${Confirm} key=${`force-${step}`} label="Force it to ${step}…" title="${STEPS[step].label} whoever is missing?" verb="${STEPS[step].label} by force"
          danger act=${ask(step, true)}>
          <p><b>${forceWarning(rotation)}</b></p>
          <p>That you forced it goes on record, and who was left behind. This can't be taken back.</p>
          <${Reason} required=${true} />
        <//>`
      }
      ${!urgent && html`<${TaintAction} key="taint" kind=${kind} id=${rotation.old_id} changed=${changed} />`}
    </div>
  `;
}

const STEPS = {
  activate: {
    label: 'Activate',
    title: ({ new_id }: RotationBody) => `Activate ${new_id ?? 'the new one'}?`,
    text: ({ old_id, new_id }: RotationBody) =>
      `${new_id} signs from now on, and every leaf under ${old_id} is replaced, in waves.`,
  },
  retire: {
    label: 'Retire',
    title: ({ old_id }: RotationBody) => `Retire ${old_id}?`,
    text: ({ old_id }: RotationBody) =>
      `${old_id} leaves every bundle, and its keys are destroyed. This can't be taken back.`,
  },
} as const;

interface KindProps {
  readonly kind: Kind;
  readonly changed: () => void;
}

/** Begins a rotation. */
export function RotateAction({ kind, changed }: KindProps): VNode {
  const { name } = KINDS[kind];
  const act = async ({ hands_free, cross_sign, hold, reason = '' }: Fields): Promise<void> => {
    await send('POST', '/v1/rotations', {
      kind,
      hands_free: hands_free === 'on',
      cross_sign: cross_sign === 'on',
      ...(hold ? { hold } : {}),
      reason,
    });
    changed();
  };
  return html`
    <${Confirm} label="Rotate ${name}…" title="Rotate the ${name}?" verb="Begin" act=${act}>
      <p>${WHAT[kind]}</p>
      <label class="check"><input type="checkbox" name="hands_free" defaultChecked /><span>Goes on by itself, from gate to gate</span></label>
      <p class="quiet">Without it, each step waits for you after its gate has opened.</p>
      ${
        kind === 'root' &&
        html`<label class="check"><input type="checkbox" name="cross_sign" /><span>The old root certifies the new one too, for verifiers out of our reach</span></label>`
      }
      <label><span>How long to wait for whoever cannot acknowledge: 60s, 15m, 1h</span>
        <input name="hold" pattern="[0-9]{1,10}[smhdy]" placeholder="the server's setting" autocomplete="off" /></label>
      <${Reason} />
    <//>
  `;
}

const WHAT: Readonly<Record<Kind, string>> = {
  root: 'A new root is made and published, signs once everyone has acknowledged it, and the old one is dropped once nothing presented chains to it.',
  issuing:
    'A new issuing CA under the same root is made; it signs once everyone has its CRL. The old one is dropped when it has expired.',
  jwt: 'A new key is made and published, and signs once verifiers have had the time to hear of it. The old one is dropped when its last token has ended.',
};

const TAINTED: Readonly<Record<Kind, string>> = {
  root: 'It counts as compromised from now on, and is replaced as fast as acknowledgements come: without waves, and without waiting at the end for whoever is away. Who is away has to be given a new certificate when it comes back.',
  issuing:
    'It counts as compromised from now on; its successor signs as soon as everyone has its CRL. What it signed stays accepted until it is revoked (carnet revoke --authority), or the root is rotated, which replaces every leaf at once.',
  jwt: 'It counts as compromised from now on, and is replaced without a hold. All of its tokens are refused as soon as it is retired.',
};

/** Says that an authority's key is compromised; only whoever can name it does. */
export function TaintAction({ kind, id, changed }: KindProps & { id: string }): VNode {
  const { name } = KINDS[kind];
  const act = async ({ typed, reason = '' }: Fields): Promise<void> => {
    if (typed?.trim() !== id) throw new RestError(400, `what you typed is not ${id}`, null, null);
    await send('POST', '/v1/rotations', { kind, hands_free: true, taint: true, reason });
    changed();
  };
  return html`
    <${Confirm} label="Taint ${name}…" title="Is the key of ${id} compromised?" verb="Taint it" danger act=${act}>
      <p>${TAINTED[kind]} This can't be taken back.</p>
      <label><span>Type <code>${id}</code> to go on</span>
        <input name="typed" required autocomplete="off" spellcheck="false" autocapitalize="off" /></label>
      <${Reason} required=${true} />
    <//>
  `;
}

function Reason({ required = false }: { required?: boolean }): VNode {
  return html`<label><span>Why, for the record${required ? '' : ' (may be left empty)'}</span>
    <input name="reason" maxlength="500" autocomplete="off" required=${required} /></label>`;
}
