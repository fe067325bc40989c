import type { RotationBody } from '../../../src/api/rotations.ts';

export type Kind = RotationBody['kind'];

/** What is replaced, in the middle of a sentence, and as a heading. */
export const KINDS: Readonly<Record<Kind, { readonly name: string; readonly title: string }>> = {
  root: { name: 'root', title: 'Root' },
  issuing: { name: 'issuing CA', title: 'Issuing CA' },
  jwt: { name: 'key of JWT-SVIDs', title: 'JWT key' },
};

/** What a step waits for, and how far that is. */
export interface Gate {
  readonly name: string;
  /** Nothing is `closed` that nobody waits for: one whose step is yet to come is `ahead`. */
  readonly state: 'ahead' | 'closed' | 'open' | 'passed';
  readonly text: string;
  /** Counted, where something is: so many of so many. */
  readonly bars: readonly { readonly label: string; readonly done: number; readonly of: number }[];
}

export interface Step {
  readonly name: string;
  readonly state: 'done' | 'now' | 'ahead';
  /** What it means. */
  readonly text: string;
  /** What stands before it. */
  readonly gate: Gate | null;
}

/** The way of a rotation, from the new authority's making to the old one's end; as of `now`, milliseconds since the epoch. */
export function stepsOf(rotation: RotationBody, now: number): Step[] {
  const { kind, phase, new_id, old_id } = rotation;
  const prepared = new_id !== null;
  const published = isPublished(rotation);
  const activated = isActivated(rotation);
  const fresh = new_id ?? 'The new one';
  const state = (done: boolean, before: boolean): Step['state'] => {
    if (done) return 'done';
    return before ? 'now' : 'ahead';
  };
  const steps: Step[] = [
    {
      name: 'Prepared',
      state: state(prepared, true),
      text:
        phase === 'waiting for an import'
          ? 'Waits for you: the root is an outside CA. Run carnet root csr, have it signed, then carnet root import.'
          : PREPARED[kind],
      gate: null,
    },
    { name: 'Published', state: state(published, prepared), text: PUBLISHED[kind], gate: null },
    {
      name: 'Activated',
      state: state(activated, published),
      text: activated
        ? `${fresh} signs; ${old_id} signs nothing more.`
        : `${fresh} signs from then on, ${old_id} no more.`,
      gate: activationGate(rotation, published, activated, now),
    },
  ];
  // An issuing CA that was replaced stays for as long as its leaves, and is dropped when it has expired.
  if (kind === 'issuing') return steps;
  return [
    ...steps,
    {
      name: 'Retired',
      state: state(false, activated),
      text: `${old_id} leaves the bundles, and its keys are destroyed.`,
      gate: retirementGate(rotation, activated),
    },
  ];
}

const PREPARED: Readonly<Record<Kind, string>> = {
  root: 'A new root and an issuing CA under it are made, and have signed and verified a throwaway leaf.',
  issuing: 'A new issuing CA is made, and has signed and verified a throwaway leaf.',
  jwt: 'A new key is made.',
};
const PUBLISHED: Readonly<Record<Kind, string>> = {
  root: 'The new root and the CRLs of both are in the trust bundle that everybody is sent.',
  issuing: 'Its CRL is in the trust bundle that everybody is sent.',
  jwt: 'The new key is in the trust bundle and in the key set that verifiers fetch.',
};

export function isActivated({ phase }: Pick<RotationBody, 'phase'>): boolean {
  return phase === 'draining' || phase === 'retiring';
}

function isPublished(rotation: RotationBody): boolean {
  const { phase } = rotation;
  return phase === 'waiting for acknowledgements' || phase === 'holding' || isActivated(rotation);
}

function activationGate(rotation: RotationBody, published: boolean, activated: boolean, now: number): Gate {
  const { kind, consumers, acknowledged, observed, laggard_count: count, bundle_sequence } = rotation;
  if (kind === 'jwt')
    return {
      name: 'Verifiers have had the time to hear of it',
      state: gateState(published, activated, !isActivationHeld(rotation, now)),
      text: 'Nobody acknowledges a key of JWT-SVIDs: it is held back for as long as verifiers keep the keys they fetched.',
      bars: [],
    };
  const isOpen = !isActivationHeld(rotation, now);
  return {
    name: 'Everyone has acknowledged the bundle',
    state: gateState(published, activated, isOpen),
    text: isOpen
      ? `Each consumer that takes its trust from us has acknowledged bundle ${bundle_sequence ?? ''} or a later one.`
      : `${amount(count, 'consumer')} would refuse whoever presents a new certificate.`,
    bars: published
      ? [
          { label: 'acknowledged', done: activated ? consumers : acknowledged, of: consumers },
          { label: 'seen to use it', done: observed, of: consumers },
        ]
      : [],
  };
}

/** Whether the gate before the activation is closed. */
function isActivationHeld({ kind, laggard_count, open_by }: RotationBody, now: number): boolean {
  return kind === 'jwt' ? open_by !== null && Date.parse(open_by) > now : laggard_count > 0;
}

/** Whether the gate before the next step is closed. */
export function isHeld(rotation: RotationBody, now: number): boolean {
  if (!isActivated(rotation)) return isActivationHeld(rotation, now);
  return rotation.presenter_count + rotation.outstanding > 0;
}

function retirementGate(rotation: RotationBody, activated: boolean): Gate {
  const { kind, consumers, presenter_count: presenters, outstanding, urgent } = rotation;
  const isOpen = presenters === 0 && outstanding === 0;
  const state = gateState(activated, false, isOpen);
  if (kind === 'jwt')
    return {
      name: 'Its last token has ended',
      state,
      text: isOpen
        ? 'No valid token of the old key is left.'
        : `${amount(outstanding, 'token')} of the old key still count.`,
      bars: [],
    };
  const text = [
    presenters > 0 && `${amount(presenters, 'consumer')} may still present the old chain.`,
    outstanding > 0 &&
      `${amount(outstanding, 'certificate')} of the old chain not known to be replaced have yet to end.`,
    urgent && 'It is compromised: whoever is away is not waited for.',
  ].filter(Boolean);
  return {
    name: 'Nothing that is presented chains to the old root',
    state,
    text: isOpen ? 'Every leaf has been replaced.' : text.join(' '),
    bars: activated ? [{ label: 'replaced', done: consumers - presenters, of: consumers }] : [],
  };
}

function gateState(isNext: boolean, passed: boolean, isOpen: boolean): Gate['state'] {
  if (passed) return 'passed';
  if (!isNext) return 'ahead';
  return isOpen ? 'open' : 'closed';
}

/** Where it stands, in one sentence that changes only when that does: for those who listen. */
export function standingOf(rotation: RotationBody): string {
  const { kind, phase, hands_free, laggard_count, presenter_count, outstanding } = rotation;
  const title = `${KINDS[kind].title} rotation: ${phase}.`;
  const step = isActivated(rotation) ? 'retire' : 'activate';
  const waits = isActivated(rotation) ? presenter_count + outstanding : laggard_count;
  if (phase === 'waiting for acknowledgements' || phase === 'draining' || phase === 'holding')
    return waits > 0 ? `${title} ${waits} to wait for.` : title;
  return hands_free || phase !== 'retiring' ? title : `${title} Everything is ready to ${step}.`;
}

/** What forcing its next step would break, with the number of handshakes between pairs of consumers that may fail. */
export function forceWarning(rotation: RotationBody): string {
  const { kind, consumers, laggard_count: laggards, presenter_count: presenters, outstanding } = rotation;
  const activated = isActivated(rotation);
  if (kind === 'jwt')
    return activated
      ? `${amount(outstanding, 'token')} of the old key will be refused from now on, though they have not ended.`
      : 'Verifiers that have not fetched the new key yet will refuse its tokens until they do. How many those are nobody can count.';
  const waited = activated ? presenters : laggards;
  const pairs = pairsWith(waited, consumers);
  const failing =
    waited === 0
      ? 'Nobody is waited for: no handshake is known to fail.'
      : `Handshakes of ${pairs} of the ${pairsWith(consumers, consumers)} pairs of consumers may fail, until they have caught up.`;
  if (!activated)
    return `${waited} of ${amount(consumers, 'consumer')} ${waited === 1 ? 'does' : 'do'} not trust the new one yet, and will refuse whoever presents a new certificate. ${failing}`;
  const alone =
    outstanding > 0
      ? ` ${amount(outstanding, 'certificate')} that no consumer accounts for will be refused too.`
      : '';
  return `${waited} of ${amount(consumers, 'consumer')} may still present the old chain, and will be refused. ${failing}${alone}`;
}

/** How many pairs of so many have at least one of these. */
export function pairsWith(some: number, all: number): number {
  const one = Math.min(some, all);
  return one * (all - one) + (one * (one - 1)) / 2;
}

/** `1 consumer`, `12 consumers`. */
export function amount(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
