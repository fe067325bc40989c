import type { AuthorityStore, AuthorityTransaction, StoredAuthority } from '../ca/authority-store.ts';
import type { KeyStore } from '../ca/key-store.ts';
import type { KeyAlgorithm } from '../ca/signer.ts';
import type { Clock } from '../clock.ts';
import { CarnetError } from '../errors.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { plan, type Schedule, type Situation, type Step } from './plan.ts';
import { abort, activate, drop, retire } from './steps.ts';
import { initialize, prepare, publish } from './steps-before.ts';

export interface ApplyOptions {
  readonly store: AuthorityStore;
  readonly keys: KeyStore;
  readonly trustDomain: TrustDomain;
  readonly schedule: Schedule;
  readonly rootKeyType: KeyAlgorithm;
  readonly issuingKeyType: KeyAlgorithm;
  readonly backdateSeconds: number;
  readonly clock: Clock;
}

/** A step being carried out: in one transaction, under the lock of authorities. */
export interface StepContext {
  readonly tx: AuthorityTransaction;
  readonly situation: StoredSituation;
  readonly options: ApplyOptions;
  /** On record as the one who did it. */
  readonly actor: string;
  readonly why: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

export interface StoredSituation extends Situation {
  readonly authorities: readonly StoredAuthority[];
}

/** More steps than any plan has at once: one that never comes to an end is a fault of ours. */
const STEPS_LIMIT = 20;

/**
 * Takes the steps that nothing is waited for, each in a transaction of its own under the lock, where it is planned
 * anew: so of several replicas that act at once one takes a step and the others find it taken, and a crash
 * between any two loses nothing. Steps of an operator's rotation are on record under his name, the others under
 * `actor`. Resolves to the steps taken here.
 */
export async function applyPlan(options: ApplyOptions, actor: string): Promise<Step[]> {
  const done: Step[] = [];
  for (;;) {
    const step = await applyNext(options, actor);
    if (step === null) return done;
    done.push(step);
    if (done.length > STEPS_LIMIT)
      throw new CarnetError('internal', `the plan of authorities has no end: ${step.kind}, ${step.why}`);
  }
}

function applyNext(options: ApplyOptions, actor: string): Promise<Step | null> {
  const { store, schedule, clock } = options;
  return store.transact(async (tx) => {
    const now = clock();
    const situation = await readSituation(tx);
    const [step] = plan(now, situation, schedule);
    if (step === undefined) return null;
    const by = 'rotation' in step ? step.rotation.actor : actor;
    await carryOut(step, { tx, situation, options, actor: by, why: step.why, now });
    return step;
  });
}

/** All that a plan looks at, under the lock. */
export async function readSituation(tx: AuthorityTransaction): Promise<StoredSituation> {
  const authorities = await tx.list();
  const old = authorities.filter(({ kind, state }) => kind === 'issuing' && state === 'draining');
  return {
    authorities,
    rotations: await tx.rotations(),
    fleet: await tx.consumers(),
    outstanding: old.length === 0 ? { count: 0, until: null } : await tx.outstanding(old.map(({ id }) => id)),
  };
}

async function carryOut(step: Step, context: StepContext): Promise<void> {
  switch (step.kind) {
    case 'initialize':
      return initialize(context);
    case 'start':
      return startRotation(step.rotation, context);
    case 'prepare':
      return prepare(step.rotation, context);
    case 'publish':
      return publish(step.rotation, context);
    case 'activate':
      return activate(step.rotation, context);
    case 'retire':
      return retire(step.rotation, context);
    case 'abort':
      return abort(step.rotation, context);
    case 'settle':
      return context.tx.updateRotation(step.rotation.id, {
        gateOpenSince: step.open ? new Date(context.now) : null,
      });
    case 'drop':
      return drop(step.id, context);
  }
}

/** Opens a rotation, with its operator event. The plan goes on from there. */
export async function startRotation(
  rotation: Extract<Step, { kind: 'start' }>['rotation'],
  { tx, actor, why }: Pick<StepContext, 'tx' | 'actor' | 'why'>,
): Promise<void> {
  await tx.insertRotation(rotation);
  const { kind, oldId, handsFree, urgent, holdSeconds } = rotation;
  await tx.event({
    actor,
    action: 'rotation.start',
    subject: oldId,
    before: null,
    after: { kind, hands_free: handsFree, urgent, hold_seconds: holdSeconds },
    reason: why,
  });
}
