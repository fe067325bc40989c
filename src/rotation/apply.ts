import type { AuthorityStore, AuthorityTransaction, StoredAuthority } from '../ca/authority-store.ts';
import type { JwtKeyAlgorithm, StoredJwtKey } from '../ca/jwt-key.ts';
import type { KeyStore } from '../ca/key-store.ts';
import type { KeyAlgorithm } from '../ca/signer.ts';
import type { Clock } from '../clock.ts';
import { CarnetError } from '../errors.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { JwtSituation } from './jwt-plan.ts';
import { carryOutJwt, initializeJwt } from './jwt-steps.ts';
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
  readonly jwtKeyType: JwtKeyAlgorithm;
  readonly backdateSeconds: number;
  /** As new issuing CAs say it. */
  readonly publicUrl?: string | null;
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
  readonly jwt: Omit<JwtSituation, 'keys'> & { readonly keys: readonly StoredJwtKey[] };
}

/** More steps than any plan has at once: one that never comes to an end is a fault of ours. */
const STEPS_LIMIT = 20;

/**
 * Takes the steps that nothing is waited for, each in a transaction of its own under the lock, where it is planned
 * anew: so of several replicas that act at once one takes a step and the others find it taken, and a crash
 * between any two loses nothing. Steps of an operator's rotation are on record under his name, what another asked for
 * under that one's, the rest under `actor`. A step that fails holds up only what follows it: a rotation that can't go on
 * leaves the others alone.
 * Resolves to the steps taken here; throws what the first that failed did, after all others.
 */
export async function applyPlan(options: ApplyOptions, actor: string): Promise<Step[]> {
  const done: Step[] = [];
  const failed = new Map<string, unknown>();
  for (;;) {
    const step = await applyNext(options, actor, failed);
    if (step === null) break;
    done.push(step);
    if (done.length > STEPS_LIMIT)
      throw new CarnetError('internal', `the plan of authorities has no end: ${step.kind}, ${step.why}`);
  }
  for (const error of failed.values()) throw error;
  return done;
}

/** The first step that can be taken; null when there is none. Those that fail are added to `failed`, and left out. */
async function applyNext(
  options: ApplyOptions,
  actor: string,
  failed: Map<string, unknown>,
): Promise<Step | null> {
  const { store, schedule, clock } = options;
  for (;;) {
    let tried: Step | undefined;
    try {
      return await store.transact(async (tx) => {
        const now = clock();
        const situation = await readSituation(tx);
        tried = plan(now, situation, schedule).find((step) => !failed.has(nameOf(step)));
        if (tried === undefined) return null;
        await carryOut(tried, {
          tx,
          situation,
          options,
          actor: actorOf(tried) ?? actor,
          why: tried.why,
          now,
        });
        return tried;
      });
    } catch (error) {
      if (tried === undefined) throw error;
      failed.set(nameOf(tried), error);
    }
  }
}

/** Whose step it is, if not the server's own: of the one who asked for it, else of the one who began the rotation. */
function actorOf(step: Step): string | null {
  if (!('rotation' in step)) return null;
  if (step.kind === 'start') return step.rotation.actor;
  return step.rotation.requestedBy ?? step.rotation.actor;
}

/** Of all that a plan has at once it names one: there is one rotation of a kind at a time. */
function nameOf(step: Step): string {
  if (step.kind === 'drop') return `${step.kind} ${step.id}`;
  return 'rotation' in step ? `${step.kind} ${step.rotation.kind}` : step.kind;
}

/** All that a plan looks at, under the lock. */
export async function readSituation(tx: AuthorityTransaction): Promise<StoredSituation> {
  const authorities = await tx.list();
  const old = authorities.filter(({ kind, state }) => kind === 'issuing' && state === 'draining');
  const rotations = await tx.rotations();
  const jwt = rotations.find(({ kind }) => kind === 'jwt') ?? null;
  return {
    authorities,
    rotations: rotations.filter((rotation) => rotation !== jwt),
    fleet: await tx.consumers(),
    outstanding: old.length === 0 ? NONE : await tx.outstanding(old.map(({ id }) => id)),
    jwt: {
      keys: await tx.jwtKeys(),
      rotation: jwt,
      outstanding: jwt === null ? NONE : await tx.outstandingTokens(jwt.oldId),
    },
  };
}

const NONE = { count: 0, until: null };

async function carryOut(step: Step, context: StepContext): Promise<void> {
  if (step.kind === 'start') return startRotation(step.rotation, context);
  if ('rotation' in step && step.rotation.kind === 'jwt') return carryOutJwt(step, context);
  switch (step.kind) {
    case 'initialize':
      return initialize(context);
    case 'initialize-jwt':
      return initializeJwt(context);
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
