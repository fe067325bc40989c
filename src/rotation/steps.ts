import type { StoredAuthority } from '../ca/authority-store.ts';
import { hasKey } from '../ca/key-store.ts';
import { CarnetError } from '../errors.ts';
import type { StepContext, StoredSituation } from './apply.ts';
import { setState } from './change.ts';
import { end } from './end.ts';
import { laggards } from './gate.ts';
import { gateSequence, isActivated, issuedBy, isValid, successorIssuing } from './plan.ts';
import { findAuthority } from './published.ts';
import { holdSecondsOf, type Rotation } from './rotation.ts';

/** Laggards named in the operator event of a forced step. */
const NAMED_LIMIT = 100;

/** From here on the new authorities sign, and the old ones drain. */
export async function activate(rotation: Rotation, context: StepContext): Promise<void> {
  const { tx, situation } = context;
  const { authorities } = situation;
  const issuing = successorIssuing(authorities, rotation);
  if (issuing === undefined) throw new CarnetError('conflict', 'no issuing CA is prepared for this rotation');
  for (const old of authorities)
    if (isReplaced(old, rotation)) await setState(context, old, 'draining', 'authority.drain');
  for (const id of new Set([rotation.newId ?? '', issuing.id]))
    await setState(context, findAuthority(situation, id), 'active', 'authority.activate');
  await tx.updateRotation(rotation.id, {
    requested: null,
    requestedBy: null,
    force: false,
    gateOpenSince: null,
  });
  if (rotation.kind === 'root') await overtake(context);
  if (rotation.force) await recordForced(rotation, context);
}

/** A new root brings an issuing CA of its own: a successor under the old root is not needed any more. */
async function overtake(context: StepContext): Promise<void> {
  const { tx, situation } = context;
  for (const rotation of situation.rotations) {
    if (rotation.kind !== 'issuing') continue;
    if (isActivated(situation.authorities, rotation))
      await tx.updateRotation(rotation.id, { outcome: 'done' });
    else await abort(rotation, context);
  }
}

/** Whoever was left behind is on record with the one who decided it. */
async function recordForced(
  rotation: Rotation,
  { tx, situation, actor, why, now }: StepContext,
): Promise<void> {
  const sequence = gateSequence(situation.authorities, rotation) ?? 0;
  const behind = laggards(sequence, now, holdSecondsOf(rotation), situation.fleet);
  await tx.event({
    actor,
    action: 'rotation.force',
    subject: rotation.newId ?? '',
    before: null,
    after: {
      left_behind: behind.length,
      named: behind.slice(0, NAMED_LIMIT).map(({ instance }) => instance),
    },
    reason: why,
  });
}

/** The old root leaves the bundles, and its keys are destroyed. Of an issuing CA alone there is nothing to retire yet. */
export async function retire(rotation: Rotation, context: StepContext): Promise<void> {
  const { tx, situation } = context;
  if (rotation.kind === 'root') {
    const ended = [
      findAuthority(situation, rotation.oldId),
      ...issuingOf(situation.authorities, rotation.oldId),
    ];
    await end(ended, context);
    await checkNothingOutstanding(rotation, ended, context);
  }
  await tx.updateRotation(rotation.id, { outcome: 'done', requested: null, requestedBy: null, force: false });
}

/**
 * Looks again, now that nothing more can be signed by them: a replica that had not heard of the activation may have
 * signed since the plan was made. Then all of this is rolled back, and planned anew.
 */
async function checkNothingOutstanding(
  { force, urgent }: Rotation,
  ended: readonly StoredAuthority[],
  { tx }: StepContext,
): Promise<void> {
  if (force || urgent) return;
  const { count } = await tx.outstanding(ended.map(({ id }) => id));
  if (count > 0)
    throw new CarnetError(
      'authority_unavailable',
      `${count} leaves were signed meanwhile: retiring is tried again`,
    );
}

/** An issuing CA that has expired, and whose successor signs. */
export function drop(id: string, context: StepContext): Promise<void> {
  return end([findAuthority(context.situation, id)], context);
}

/**
 * Goes back. Before the activation nothing hangs on the new authorities, and they are dropped. After it the old and
 * the new root change places: both are trusted everywhere, so the old one signs again and the new one drains.
 */
export async function abort(rotation: Rotation, context: StepContext): Promise<void> {
  const { tx, situation } = context;
  const { authorities } = situation;
  if (isActivated(authorities, rotation)) return swap(rotation, context);
  if (rotation.newId !== null) {
    const fresh = findAuthority(situation, rotation.newId);
    await end(fresh.kind === 'root' ? [fresh, ...issuingOf(authorities, fresh.id)] : [fresh], context);
  }
  return tx.updateRotation(rotation.id, {
    outcome: 'aborted',
    requested: null,
    requestedBy: null,
    force: false,
  });
}

/** What an abort after the activation lets sign again. Throws `conflict` where nothing of the old root can. */
export function wayBack(
  rotation: Rotation,
  situation: Pick<StoredSituation, 'authorities'>,
  now: number,
): { readonly old: StoredAuthority; readonly issuing: StoredAuthority } {
  const old = findAuthority(situation, rotation.oldId);
  const issuing = issuingOf(situation.authorities, old.id).findLast(
    (one) => isValid(one, now) && hasKey(one),
  );
  if (rotation.kind === 'issuing' || issuing === undefined || !isValid(old, now))
    throw new CarnetError(
      'conflict',
      `there is no way back to ${old.id}: it has no issuing CA that is still valid`,
    );
  return { old, issuing };
}

/** What follows goes on by itself, and is still of the one who asked for it. */
async function swap(rotation: Rotation, context: StepContext): Promise<void> {
  const { tx, situation, now } = context;
  const { authorities } = situation;
  const { old, issuing } = wayBack(rotation, situation, now);
  const back: Rotation = { ...rotation, oldId: rotation.newId ?? '', newId: old.id };
  for (const one of authorities)
    if (isReplaced(one, back)) await setState(context, one, 'draining', 'rotation.abort');
  for (const one of [old, issuing]) await setState(context, one, 'active', 'rotation.abort');
  await tx.updateRotation(rotation.id, {
    gateOpenSince: null,
    oldId: back.oldId,
    newId: old.id,
    requested: null,
    force: false,
    handsFree: true,
  });
}

/** Whether an authority stops signing when the rotation activates. */
function isReplaced(authority: StoredAuthority, { kind, oldId }: Rotation): boolean {
  if (authority.state !== 'active' && authority.state !== 'tainted') return false;
  return (
    authority.id === oldId ||
    (kind === 'root' && authority.kind === 'issuing' && authority.parentId === oldId)
  );
}

function issuingOf(authorities: readonly StoredAuthority[], rootId: string): StoredAuthority[] {
  const ids = issuedBy(authorities, rootId);
  return authorities.filter(({ id }) => ids.has(id));
}
