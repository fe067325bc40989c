import type { StoredSituation } from './apply.ts';
import type { Outstanding } from './fleet.ts';
import { hasAcknowledged, type Laggard, laggards, presenters, takesTrust } from './gate.ts';
import { jwtPictureOf } from './jwt-picture.ts';
import { gateSequence, isActivated, issuedBy, waitsForImport } from './plan.ts';
import { holdSecondsOf, type Rotation } from './rotation.ts';

/** Where a rotation stands, for people and programs. Times are milliseconds since the epoch. */
export interface RotationPicture {
  readonly rotation: Rotation;
  readonly phase: RotationPhase;
  /** The bundle that everyone must have acknowledged; null before it is published. */
  readonly sequence: number | null;
  /** Consumers that take their trust from us and are there, or may come back. */
  readonly consumers: number;
  /** How many of them acknowledged it, or cannot and were held for. */
  readonly acknowledged: number;
  /** How many were seen to use it, where that can be seen at all. */
  readonly observed: number;
  /** Who holds the activation up. */
  readonly laggards: readonly Laggard[];
  /** Who may still present a certificate of the old root. */
  readonly presenters: readonly Laggard[];
  readonly outstanding: Outstanding;
  /** When waiting alone will have opened the gate; null where that needs somebody to act, or nothing is waited for. */
  readonly openBy: number | null;
}

export const PHASES = [
  'preparing',
  'waiting for an import',
  'publishing',
  'waiting for acknowledgements',
  'holding',
  'draining',
  'retiring',
] as const;
export type RotationPhase = (typeof PHASES)[number];

/** How each rotation under way stands now: the same from every replica, for it is all read from the database. */
export function pictureOf(now: number, situation: StoredSituation): RotationPicture[] {
  const pictures = situation.rotations.map((rotation) => {
    const { authorities, fleet } = situation;
    const sequence = gateSequence(authorities, rotation);
    const activated = isActivated(authorities, rotation);
    const hold = holdSecondsOf(rotation);
    const counted = fleet.filter((consumer) => takesTrust(consumer, now));
    const behind = activated || sequence === null ? [] : laggards(sequence, now, hold, fleet);
    const old = issuedBy(authorities, rotation.oldId);
    const presenting = activated && rotation.kind === 'root' ? presenters(old, now, fleet) : [];
    return {
      rotation,
      phase: phaseOf(
        situation,
        rotation,
        sequence,
        activated,
        presenting.length > 0 || situation.outstanding.count > 0,
      ),
      sequence,
      consumers: counted.length,
      acknowledged:
        sequence === null
          ? 0
          : counted.filter((consumer) => hasAcknowledged(consumer, sequence, now, hold)).length,
      observed:
        sequence === null
          ? 0
          : counted.filter(({ bundleObserved }) => (bundleObserved ?? 0) >= sequence).length,
      laggards: behind,
      presenters: presenting,
      outstanding: activated ? situation.outstanding : { count: 0, until: null },
      openBy: activated ? situation.outstanding.until : latest(behind),
    };
  });
  return [...pictures, ...jwtPictureOf(situation)];
}

function phaseOf(
  { authorities }: StoredSituation,
  rotation: Rotation,
  sequence: number | null,
  activated: boolean,
  presented: boolean,
): RotationPhase {
  if (rotation.newId === null)
    return waitsForImport(authorities, rotation) ? 'waiting for an import' : 'preparing';
  if (sequence === null) return 'publishing';
  if (!activated) return 'waiting for acknowledgements';
  return presented ? 'draining' : 'retiring';
}

function latest(behind: readonly Laggard[]): number | null {
  if (behind.length === 0 || behind.some(({ until }) => until === null)) return null;
  return Math.max(...behind.map(({ until }) => until ?? 0));
}
