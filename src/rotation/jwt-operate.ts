import type { AuthorityTransaction } from '../ca/authority-store.ts';
import { CarnetError } from '../errors.ts';
import type { ApplyOptions, StoredSituation } from './apply.ts';
import { recordChange } from './change.ts';
import { heldUntil } from './jwt-plan.ts';
import type { Rotation, RotationRequest } from './rotation.ts';

/** Throws `conflict` for a step that is not the next one of a rotation of JWT keys, or that would come too soon. */
export function checkJwtStep(
  request: RotationRequest,
  force: boolean,
  rotation: Rotation,
  { jwt }: StoredSituation,
  now: number,
): void {
  const fresh = jwt.keys.find(({ id }) => id === rotation.newId);
  const activated = fresh?.state === 'active';
  if (request === 'retire' && !activated)
    throw new CarnetError('conflict', `${rotation.oldId} still signs: activate its successor first`);
  if (request !== 'retire' && activated)
    throw new CarnetError(
      'conflict',
      `${rotation.newId} signs already, and tokens of it are under way: begin another rotation instead`,
    );
  if (request !== 'activate' || force) return;
  if (fresh === undefined || fresh.state !== 'published')
    throw new CarnetError('conflict', 'the new key is not published yet: try again in a moment');
  const until = heldUntil(fresh, rotation);
  if (now < until)
    throw new CarnetError(
      'conflict',
      `whoever verifies tokens may not have heard of ${fresh.id} before ${new Date(until).toISOString()}: wait, or --force`,
    );
}

/** The key that signs counts as compromised. */
export async function taintJwtKey(
  tx: AuthorityTransaction,
  situation: StoredSituation,
  id: string,
  { options, actor, reason }: { options: ApplyOptions; actor: string; reason: string },
): Promise<void> {
  const key = situation.jwt.keys.find((one) => one.id === id);
  // One that drains is on its way out already: the rotation's urgency is what counts.
  if (key?.state !== 'active') return;
  await tx.setState(id, 'tainted');
  const context = { tx, situation, options, actor, why: reason, now: options.clock() };
  await recordChange(context, 'authority.taint', key, { ...key, state: 'tainted' });
}
