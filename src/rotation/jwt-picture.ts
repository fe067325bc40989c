import type { StoredSituation } from './apply.ts';
import { heldUntil } from './jwt-plan.ts';
import type { RotationPicture } from './picture.ts';

/** Where a rotation of the keys of JWT-SVIDs stands. Nobody acknowledges them: nobody is counted. */
export function jwtPictureOf({ jwt }: Pick<StoredSituation, 'jwt'>): RotationPicture[] {
  const { rotation, keys, outstanding } = jwt;
  if (rotation === null) return [];
  const fresh = keys.find(({ id }) => id === rotation.newId);
  const picture = {
    rotation,
    sequence: fresh?.publishedSequence ?? null,
    consumers: 0,
    acknowledged: 0,
    observed: 0,
    laggards: [],
    presenters: [],
    outstanding: { count: 0, until: null },
    openBy: null,
  };
  if (fresh === undefined) return [{ ...picture, phase: 'preparing' }];
  if (fresh.state === 'prepared') return [{ ...picture, phase: 'publishing' }];
  if (fresh.state === 'published')
    return [{ ...picture, phase: 'holding', openBy: heldUntil(fresh, rotation) }];
  const phase = outstanding.count > 0 ? 'draining' : 'retiring';
  return [{ ...picture, phase, outstanding, openBy: outstanding.until }];
}
