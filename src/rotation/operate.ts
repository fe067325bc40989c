import type { AuthorityTransaction } from '../ca/authority-store.ts';
import { CarnetError } from '../errors.ts';
import { type ApplyOptions, readSituation, type StoredSituation, startRotation } from './apply.ts';
import { recordChange } from './change.ts';
import { laggards } from './gate.ts';
import { checkJwtStep, taintJwtKey } from './jwt-operate.ts';
import { signingJwtKey } from './jwt-plan.ts';
import { gateSequence, isActivated, signing } from './plan.ts';
import { findAuthority } from './published.ts';
import { holdSecondsOf, type Rotation, type RotationChange, type RotationRequest } from './rotation.ts';
import { wayBack } from './steps.ts';

export interface StartRequest {
  readonly kind: Rotation['kind'];
  /** Goes on by itself; else `request` asks for each step. */
  readonly handsFree: boolean;
  /** The old key is compromised: it is tainted, and nothing is waited for that is not connected. */
  readonly taint: boolean;
  readonly crossSign: boolean;
  /** Null: the server's default. */
  readonly holdSeconds: number | null;
  readonly actor: string;
  readonly reason: string;
}

/**
 * Begins a rotation; where one is under way already, it goes on as asked for (hands-free, tainted, held for longer or
 * less long), so the same command resumes it. Throws `authority_unavailable` before the first start, `conflict` for
 * what can't be asked for any more.
 */
export function startOrResume(options: ApplyOptions, request: StartRequest): Promise<void> {
  const { kind, handsFree, taint, crossSign, actor, reason } = request;
  return options.store.transact(async (tx) => {
    const situation = await readSituation(tx);
    const open = openRotation(situation, kind);
    const oldId = open?.oldId ?? signer(situation, kind)?.id;
    if (oldId === undefined)
      throw new CarnetError('authority_unavailable', `there is no ${kind} authority yet`);
    if (crossSign && kind === 'jwt')
      throw new CarnetError(
        'invalid_argument',
        'a key of JWT-SVIDs is certified by nobody: leave cross_sign out',
      );
    const by = { options, actor, reason };
    if (taint && kind === 'jwt') await taintJwtKey(tx, situation, oldId, by);
    else if (taint) await taintAuthority(tx, situation, oldId, by);
    if (open === undefined) {
      const holdSeconds = request.holdSeconds ?? holdOf(options, kind);
      return startRotation(
        { kind, oldId, handsFree, urgent: taint, crossSign, holdSeconds, actor, reason },
        { tx, actor, why: reason },
      );
    }
    await resume(tx, open, request);
  });
}

/** What it is asked for beyond how it goes on already, with its operator event. Throws `conflict` for a late `crossSign`. */
async function resume(
  tx: AuthorityTransaction,
  open: Rotation,
  { kind, handsFree, taint, crossSign, holdSeconds, actor, reason }: StartRequest,
): Promise<void> {
  if (crossSign && !open.crossSign)
    throw new CarnetError(
      'conflict',
      `the ${kind} rotation under way was begun without cross_sign: leave it out, or abort that one first`,
    );
  const change: RotationChange = {
    ...(handsFree && !open.handsFree ? { handsFree } : {}),
    ...(taint && !open.urgent ? { urgent: true } : {}),
    ...(holdSeconds !== null && holdSeconds !== open.holdSeconds ? { holdSeconds } : {}),
  };
  if (Object.keys(change).length === 0) return;
  await tx.updateRotation(open.id, change);
  const said = (rotation: Pick<Rotation, 'handsFree' | 'urgent' | 'holdSeconds'>) => ({
    hands_free: rotation.handsFree,
    urgent: rotation.urgent,
    hold_seconds: rotation.holdSeconds,
  });
  await tx.event({
    actor,
    action: 'rotation.resume',
    subject: open.newId ?? open.oldId,
    before: said(open),
    after: said({ ...open, ...change }),
    reason,
  });
}

/** Opens the rotation of a cron expression, unless one is open or was begun since it fired: each replica fires. */
export function startScheduled(
  options: ApplyOptions,
  kind: Rotation['kind'],
  firedAt: Date,
): Promise<boolean> {
  return options.store.transact(async (tx) => {
    const situation = await readSituation(tx);
    const old = signer(situation, kind);
    if (old === undefined || openRotation(situation, kind) !== undefined) return false;
    if (await tx.rotatedSince(kind, firedAt)) return false;
    const [actor, why] = [`schedule:${kind}`, 'its schedule'];
    const holdSeconds = holdOf(options, kind);
    await startRotation(
      {
        kind,
        oldId: old.id,
        handsFree: true,
        urgent: false,
        crossSign: false,
        holdSeconds,
        actor,
        reason: why,
      },
      { tx, actor, why },
    );
    return true;
  });
}

export interface StepRequest {
  readonly kind: Rotation['kind'];
  readonly request: RotationRequest;
  /** Do it whatever its gate says: who is left behind goes on record. */
  readonly force: boolean;
  readonly actor: string;
  readonly reason: string;
}

/**
 * Asks for a step of the rotation under way; the plan takes it once its gate lets it. Throws `not_found` without a
 * rotation, `conflict` for a step that is not its next one or whose gate is closed, naming who is missing.
 */
export function requestStep(
  options: ApplyOptions,
  { kind, request, force, actor, reason }: StepRequest,
): Promise<void> {
  return options.store.transact(async (tx) => {
    const situation = await readSituation(tx);
    const rotation = openRotation(situation, kind);
    if (rotation === undefined)
      throw new CarnetError('not_found', `no ${kind} rotation is under way: begin one first`);
    const now = options.clock();
    if (kind === 'jwt') checkJwtStep(request, force, rotation, situation, now);
    else checkOrder(request, rotation, situation, now);
    if (kind !== 'jwt' && request === 'activate' && !force) checkActivation(rotation, situation, now);
    await tx.updateRotation(rotation.id, { requested: request, requestedBy: actor, force });
    await tx.event({
      actor,
      action: `rotation.${request}`,
      subject: rotation.newId ?? rotation.oldId,
      before: null,
      after: { force },
      reason,
    });
  });
}

function openRotation({ rotations, jwt }: StoredSituation, kind: Rotation['kind']): Rotation | undefined {
  return kind === 'jwt' ? (jwt.rotation ?? undefined) : rotations.find((open) => open.kind === kind);
}

/** What signs now. */
function signer({ authorities, jwt }: StoredSituation, kind: Rotation['kind']): { id: string } | undefined {
  return kind === 'jwt' ? signingJwtKey(jwt.keys) : signing(authorities, kind);
}

function holdOf({ schedule }: ApplyOptions, kind: Rotation['kind']): number {
  return kind === 'jwt' ? schedule.jwtHoldSeconds : schedule.holdSeconds;
}

function checkOrder(
  request: RotationRequest,
  rotation: Rotation,
  situation: StoredSituation,
  now: number,
): void {
  const activated = isActivated(situation.authorities, rotation);
  if (request === 'abort' && activated) wayBack(rotation, situation, now);
  if (request === 'activate' && activated)
    throw new CarnetError(
      'conflict',
      `${rotation.newId} signs already; what is left is to retire ${rotation.oldId}`,
    );
  if (request === 'retire' && !activated)
    throw new CarnetError('conflict', `${rotation.oldId} still signs: activate its successor first`);
}

function checkActivation(rotation: Rotation, { authorities, fleet }: StoredSituation, now: number): void {
  const sequence = gateSequence(authorities, rotation);
  if (sequence === null)
    throw new CarnetError('conflict', 'the new authority is not published yet: try again in a moment');
  const missing = laggards(sequence, now, holdSecondsOf(rotation), fleet);
  if (missing.length === 0) return;
  const named = missing
    .slice(0, 5)
    .map(({ instance, names, why }) => `${names.join('/') || instance} ${why}`);
  throw new CarnetError(
    'conflict',
    `${missing.length} would be broken: ${named.join('; ')}${missing.length > 5 ? '; …' : ''}. See carnet root status; --force does it all the same`,
  );
}

async function taintAuthority(
  tx: AuthorityTransaction,
  situation: StoredSituation,
  id: string,
  { options, actor, reason }: { options: ApplyOptions; actor: string; reason: string },
): Promise<void> {
  const authority = findAuthority(situation, id);
  // One that drains is on its way out already: the rotation's urgency is what counts.
  if (authority.state !== 'active') return;
  await tx.setState(id, 'tainted');
  const context = { tx, situation, options, actor, why: reason, now: options.clock() };
  await recordChange(context, 'authority.taint', authority, { ...authority, state: 'tainted' });
}
