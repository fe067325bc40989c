import type { StoredAuthority } from '../ca/authority-store.ts';
import type { Consumer, Outstanding } from './fleet.ts';
import { laggards, mayRetire, presenters } from './gate.ts';
import { type JwtSituation, planJwt } from './jwt-plan.ts';
import { holdSecondsOf, type NewRotation, type Rotation } from './rotation.ts';

/** How long new authorities live and when they are replaced. Times are milliseconds. */
export interface Schedule {
  readonly rootTtlMs: number;
  readonly issuingTtlMs: number;
  /** Replaced by themselves once this share of their life is over; null: never, or by the clock (cron). */
  readonly rootShare: number | null;
  readonly issuingShare: number | null;
  readonly holdSeconds: number;
  readonly jwtKeyTtlMs: number;
  readonly jwtShare: number | null;
  /** How long a new key of JWT-SVIDs is published before it signs. */
  readonly jwtHoldSeconds: number;
}

/** What the plan looks at: all of it read in the transaction that carries it out. */
export interface Situation {
  /** By time of making. */
  readonly authorities: readonly PlannedAuthority[];
  /** Of roots and issuing CAs. */
  readonly rotations: readonly Rotation[];
  readonly fleet: readonly Consumer[];
  /** Of the authorities that drain. */
  readonly outstanding: Outstanding;
  readonly jwt: JwtSituation;
}

export type PlannedAuthority = Pick<
  StoredAuthority,
  | 'id'
  | 'kind'
  | 'createdAt'
  | 'state'
  | 'stateSince'
  | 'parentId'
  | 'notBefore'
  | 'notAfter'
  | 'publishedSequence'
  | 'sealedKey'
  | 'keyReference'
>;

/** One change of the authorities. Each is carried out in one transaction, and changes what the next plan says. */
export type Step =
  | { readonly kind: 'initialize' | 'initialize-jwt'; readonly why: string }
  | { readonly kind: 'start'; readonly rotation: NewRotation; readonly why: string }
  | { readonly kind: 'prepare'; readonly rotation: Rotation; readonly why: string }
  | { readonly kind: 'publish'; readonly rotation: Rotation; readonly why: string }
  | { readonly kind: 'activate'; readonly rotation: Rotation; readonly why: string }
  | { readonly kind: 'retire'; readonly rotation: Rotation; readonly why: string }
  | { readonly kind: 'abort'; readonly rotation: Rotation; readonly why: string }
  /** The next step's gate has opened, or closed again. */
  | { readonly kind: 'settle'; readonly rotation: Rotation; readonly open: boolean; readonly why: string }
  /** An issuing CA whose successor signs, and of which nothing is presented any more. */
  | { readonly kind: 'drop'; readonly id: string; readonly why: string };

/**
 * With less than this share of an issuing CA's life left, its successor signs whoever lags: else nobody has a leaf. And
 * with less of any CA's, a rotation that an operator takes step by step goes on by itself, from gate to gate.
 */
const LAST_RESORT = 0.15;
/**
 * From the last acknowledgement to the step that counts on it. Envoy acknowledges a secret when its main thread has
 * it; its workers take it up moments later, on a busy machine many (Envoy issues 42438, 47309).
 */
export const SETTLE_MS = 2_000;
/** A successor that has waited for its gate for this share of its life is made anew. */
const STALE = 0.5;
/** A successor that would end less than this share of a lifetime later is not worth making: its root holds it back. */
const WORTH_RENEWING = 0.05;

/**
 * What is to be done about the authorities now (milliseconds since the epoch). Deterministic, and empty when all
 * is well or something is waited for: carrying the first step out and planning again leads to the end.
 */
export function plan(now: number, situation: Situation, schedule: Schedule): Step[] {
  if (situation.authorities.length === 0) return [{ kind: 'initialize', why: 'first start' }];
  return [
    ...scheduled(now, situation, schedule),
    ...situation.rotations.flatMap((rotation) => advance(now, rotation, situation)),
    ...drops(now, situation),
    ...planJwt(now, situation.jwt, schedule),
  ];
}

/** The authority of a kind that signs now. A tainted one signs until its successor is known everywhere. */
export function signing<Authority extends PlannedAuthority>(
  authorities: readonly Authority[],
  kind: 'root' | 'issuing',
): Authority | undefined {
  return (
    authorities.findLast((one) => one.kind === kind && one.state === 'active') ??
    authorities.findLast((one) => one.kind === kind && one.state === 'tainted')
  );
}

/** The issuing CA that is made with a new root, to sign in its name from the activation on. */
export function successorIssuing(
  authorities: readonly PlannedAuthority[],
  rotation: Rotation,
): PlannedAuthority | undefined {
  if (rotation.kind === 'issuing') return authorities.find(({ id }) => id === rotation.newId);
  return authorities.findLast(
    ({ kind, parentId, state }) =>
      kind === 'issuing' && parentId === rotation.newId && state !== 'retired' && state !== 'draining',
  );
}

/** Every issuing CA of a root. */
export function issuedBy(authorities: readonly PlannedAuthority[], rootId: string): Set<string> {
  return new Set(
    authorities.filter(({ kind, parentId }) => kind === 'issuing' && parentId === rootId).map(({ id }) => id),
  );
}

/** Whether the rotation's new authority signs already. */
export function isActivated(authorities: readonly PlannedAuthority[], { newId }: Rotation): boolean {
  return authorities.some(({ id, state }) => id === newId && state === 'active');
}

/**
 * Whether the root that must sign what comes next is an outside CA's: then an operator imports it. Whoever has an
 * outside root means to keep one.
 */
export function waitsForImport(authorities: readonly PlannedAuthority[], rotation: Rotation): boolean {
  const find = (id: string | null) => authorities.find((one) => one.id === id);
  const root =
    rotation.kind === 'root'
      ? find(rotation.newId ?? rotation.oldId)
      : find(find(rotation.oldId)?.parentId ?? null);
  return root !== undefined && root.sealedKey === null && root.keyReference === null;
}

/** The sequence that everyone must have acknowledged before the new authorities sign; null before they are published. */
export function gateSequence(authorities: readonly PlannedAuthority[], rotation: Rotation): number | null {
  const own = authorities.find(({ id }) => id === rotation.newId)?.publishedSequence ?? null;
  const issuing = successorIssuing(authorities, rotation)?.publishedSequence ?? null;
  return own === null || issuing === null ? null : Math.max(own, issuing);
}

export function isValid(authority: PlannedAuthority, now: number): boolean {
  return authority.notBefore.getTime() <= now && now < authority.notAfter.getTime();
}

function scheduled(now: number, { authorities, rotations }: Situation, schedule: Schedule): Step[] {
  const steps: Step[] = [];
  const start = (kind: 'root' | 'issuing', oldId: string, why: string): void => {
    if (rotations.some((rotation) => rotation.kind === kind)) return;
    const rotation = {
      kind,
      oldId,
      handsFree: true,
      urgent: false,
      crossSign: false,
      holdSeconds: schedule.holdSeconds,
      actor: `schedule:${kind}`,
      reason: why,
    };
    steps.push({ kind: 'start', rotation, why });
  };
  const root = signing(authorities, 'root');
  if (root !== undefined && schedule.rootShare !== null && shareOver(root, now) >= schedule.rootShare)
    start('root', root.id, `${Math.round(schedule.rootShare * 100)} % of its life are over`);
  const issuing = signing(authorities, 'issuing');
  if (root === undefined || issuing === undefined || !isValid(root, now)) return steps;
  // A root rotation brings a new issuing CA with it: only if that takes too long is one made before.
  const patient = rotations.some(({ kind }) => kind === 'root');
  const why = whyNewIssuing(now, root, issuing, schedule, patient);
  if (why !== null) start('issuing', issuing.id, why);
  return steps;
}

function whyNewIssuing(
  now: number,
  root: PlannedAuthority,
  issuing: PlannedAuthority,
  schedule: Schedule,
  patient: boolean,
): string | null {
  if (now < issuing.notBefore.getTime()) return 'the clock went back to before it begins';
  const end = issuing.notAfter.getTime();
  if (now >= end) return 'it has expired';
  const gain = Math.min(now + schedule.issuingTtlMs, root.notAfter.getTime()) - end;
  const share = patient ? 1 - 2 * LAST_RESORT : schedule.issuingShare;
  const due = shareOver(issuing, now) >= (share ?? 1 - 2 * LAST_RESORT);
  return due && gain > schedule.issuingTtlMs * WORTH_RENEWING ? 'its time is over' : null;
}

function isAboutToEnd(authorities: readonly PlannedAuthority[], id: string | null, now: number): boolean {
  const found = authorities.find((one) => one.id === id);
  return found !== undefined && shareOver(found, now) > 1 - LAST_RESORT;
}

/** From 0 at its making to 1 at its end: `notBefore` is put back for slow clocks, by more than a short life is long. */
function shareOver({ createdAt, notAfter }: PlannedAuthority, now: number): number {
  return (now - createdAt.getTime()) / (notAfter.getTime() - createdAt.getTime());
}

/** The next step of one rotation, if nothing is waited for. */
function advance(now: number, rotation: Rotation, situation: Situation): Step[] {
  const { authorities, fleet } = situation;
  const { handsFree, requested, force, reason } = rotation;
  if (requested === 'abort') return [{ kind: 'abort', rotation, why: reason }];
  const successor = authorities.find(({ id }) => id === rotation.newId);
  const isOurs = !waitsForImport(authorities, rotation);
  if (successor === undefined) return isOurs ? [{ kind: 'prepare', rotation, why: reason }] : [];
  if (isActivated(authorities, rotation)) return retirement(now, rotation, situation);
  const issuing = successorIssuing(authorities, rotation);
  if (isOurs && (issuing === undefined || shareOver(issuing, now) > STALE))
    return [{ kind: 'prepare', rotation, why: 'what was prepared has grown old' }];
  const sequence = gateSequence(authorities, rotation);
  if (sequence === null) return [{ kind: 'publish', rotation, why: reason }];
  if (requested === 'activate' && force)
    return [{ kind: 'activate', rotation, why: 'forced by an operator' }];
  const endsSoon = isAboutToEnd(authorities, rotation.oldId, now);
  if (rotation.kind === 'issuing' && endsSoon)
    return [{ kind: 'activate', rotation, why: 'the old one is about to expire, whoever lags' }];
  // Step by step it waits for its command, but not until what signs has ended.
  if (!handsFree && requested !== 'activate' && !endsSoon) return [];
  const open = laggards(sequence, now, holdSecondsOf(rotation), fleet).length === 0;
  return onceSettled({ kind: 'activate', rotation, why: 'everyone acknowledged it' }, open, now, fleet);
}

/** Of a root only: an issuing CA that was replaced is dropped in its own time. */
function retirement(now: number, rotation: Rotation, { authorities, fleet, outstanding }: Situation): Step[] {
  if (rotation.kind === 'issuing') return [{ kind: 'retire', rotation, why: 'its successor signs' }];
  const { handsFree, requested, force, urgent } = rotation;
  // While it is open no other can begin.
  const nextIsDue = isAboutToEnd(authorities, rotation.newId, now);
  if (!handsFree && requested !== 'retire' && !nextIsDue) return [];
  if (requested === 'retire' && force) return [{ kind: 'retire', rotation, why: 'forced by an operator' }];
  const old = issuedBy(authorities, rotation.oldId);
  const activeSince = authorities.find(({ id }) => id === rotation.newId)?.stateSince.getTime() ?? now;
  const held = now >= activeSince + rotation.holdSeconds * 1000;
  const reachable = fleet.filter((consumer) => isReachable(consumer, old, held));
  const connected = new Set(reachable.map(({ instance }) => instance));
  const open = mayRetire({ presenters: presenters(old, now, fleet), outstanding }, urgent, connected);
  return onceSettled(
    { kind: 'retire', rotation, why: 'nothing that is presented chains to it' },
    open,
    now,
    fleet,
  );
}

/**
 * Whether it is connected and may not have its new certificate yet. Where nothing can be acknowledged, it has what it was
 * sent once the hold is over.
 */
function isReachable(
  { streams, acknowledges, authorities }: Consumer,
  old: ReadonlySet<string>,
  held: boolean,
): boolean {
  const wasGivenAnother = authorities.some((id) => !old.has(id));
  return streams > 0 && (acknowledges || !wasGivenAnother || !held);
}

/** A step whose gate has been open for long enough that what was acknowledged is in use. */
function onceSettled(
  step: Extract<Step, { kind: 'activate' | 'retire' }>,
  open: boolean,
  now: number,
  fleet: readonly Consumer[],
): Step[] {
  const { rotation } = step;
  const since = rotation.gateOpenSince?.getTime() ?? null;
  if (!open) return since === null ? [] : [{ kind: 'settle', rotation, open, why: 'somebody lags again' }];
  if (fleet.every(({ gone }) => gone)) return [step];
  if (since === null || since > now) return [{ kind: 'settle', rotation, open, why: step.why }];
  return now - since >= SETTLE_MS ? [step] : [];
}

function drops(now: number, { authorities }: Situation): Step[] {
  const root = signing(authorities, 'root');
  return authorities.flatMap(({ id, kind, state, parentId, notAfter }): Step[] =>
    kind === 'issuing' && state === 'draining' && parentId === root?.id && notAfter.getTime() <= now
      ? [{ kind: 'drop', id, why: 'it has expired' }]
      : [],
  );
}
