import type { StoredJwtKey } from '../ca/jwt-key.ts';
import type { Outstanding } from './fleet.ts';
import type { Schedule, Step } from './plan.ts';
import { holdSecondsOf, type Rotation } from './rotation.ts';

/** What is planned of the keys that sign JWT-SVIDs. */
export interface JwtSituation {
  /** By time of making. */
  readonly keys: readonly PlannedJwtKey[];
  /** The one under way. */
  readonly rotation: Rotation | null;
  /** Valid tokens of the key that it replaced. */
  readonly outstanding: Outstanding;
}

export type PlannedJwtKey = Pick<StoredJwtKey, 'id' | 'state' | 'createdAt' | 'stateSince' | 'notAfter'>;

/** Where it is not to be replaced by itself it is all the same, with a third of its life left: else nobody has a token. */
const AT_LAST = 2 / 3;

/**
 * What is to be done about the keys of JWT-SVIDs now. Whoever verifies tokens acknowledges nothing: a new key is
 * published for as long as the rotation holds before it signs. The old one stays published until the last token under
 * it has ended, which the record tells.
 */
export function planJwt(now: number, situation: JwtSituation, schedule: Schedule): Step[] {
  const { keys, rotation } = situation;
  if (rotation !== null) return advance(now, rotation, situation);
  const current = signingJwtKey(keys);
  if (current === undefined) return [{ kind: 'initialize-jwt', why: 'there is no key for JWT-SVIDs yet' }];
  const share = schedule.jwtShare ?? AT_LAST;
  if (shareOver(current, now) < share) return [];
  const why = `${Math.round(share * 100)} % of its life are over`;
  const rotationToStart = {
    kind: 'jwt',
    oldId: current.id,
    handsFree: true,
    urgent: false,
    crossSign: false,
    holdSeconds: schedule.jwtHoldSeconds,
    actor: 'schedule:jwt',
    reason: why,
  } as const;
  return [{ kind: 'start', rotation: rotationToStart, why }];
}

/** The key that signs now. A tainted one signs until its successor is published. */
export function signingJwtKey<Key extends PlannedJwtKey>(keys: readonly Key[]): Key | undefined {
  return (
    keys.findLast(({ state }) => state === 'active') ?? keys.findLast(({ state }) => state === 'tainted')
  );
}

/** Until when a published key is held back, milliseconds since the epoch. */
export function heldUntil({ stateSince }: PlannedJwtKey, rotation: Rotation): number {
  return stateSince.getTime() + holdSecondsOf(rotation) * 1000;
}

function advance(now: number, rotation: Rotation, situation: JwtSituation): Step[] {
  const { requested, force, handsFree, newId, oldId, reason } = rotation;
  if (requested === 'abort') return [{ kind: 'abort', rotation, why: reason }];
  const fresh = situation.keys.find(({ id }) => id === newId);
  if (fresh === undefined) return [{ kind: 'prepare', rotation, why: reason }];
  if (fresh.state === 'prepared') return [{ kind: 'publish', rotation, why: reason }];
  if (fresh.state === 'active') return retirement(now, fresh, rotation, situation.outstanding);
  const old = situation.keys.find(({ id }) => id === oldId);
  if (!handsFree && requested !== 'activate' && !(old && isLate(old, now))) return [];
  const step = (why: string): Step[] => [{ kind: 'activate', rotation, why }];
  if (force) return step('forced by an operator');
  if (old === undefined || old.notAfter.getTime() <= now) return step('the old one has expired');
  return now >= heldUntil(fresh, rotation) ? step('whoever verifies had the time to hear of it') : [];
}

/** Tokens of a compromised key are refused from then on: they may be anybody's. */
function retirement(now: number, fresh: PlannedJwtKey, rotation: Rotation, { count }: Outstanding): Step[] {
  const { requested, force, handsFree, urgent } = rotation;
  // While it is open no other can begin.
  if (!handsFree && requested !== 'retire' && !isLate(fresh, now)) return [];
  const step = (why: string): Step[] => [{ kind: 'retire', rotation, why }];
  if (force) return step('forced by an operator');
  if (urgent) return step('it is compromised');
  return count === 0 ? step('the last token under it has ended') : [];
}

/** Step by step a rotation waits for its command, but not until what signs has ended. */
function isLate(key: PlannedJwtKey, now: number): boolean {
  return shareOver(key, now) >= AT_LAST;
}

function shareOver({ createdAt, notAfter }: PlannedJwtKey, now: number): number {
  return (now - createdAt.getTime()) / (notAfter.getTime() - createdAt.getTime());
}
