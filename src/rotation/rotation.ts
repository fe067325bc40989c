/** Steps that an operator can ask for, one at a time, where a rotation does not go on by itself. */
export const REQUESTS = ['activate', 'retire', 'abort'] as const;
export type RotationRequest = (typeof REQUESTS)[number];

/** What is replaced: a root, an issuing CA alone, or the key that signs JWT-SVIDs. */
export const ROTATION_KINDS = ['root', 'issuing', 'jwt'] as const;
export type RotationKind = (typeof ROTATION_KINDS)[number];

/** A rotation under way. */
export interface Rotation {
  readonly id: number;
  readonly kind: RotationKind;
  /** Goes on by itself from gate to gate; else each step waits for its command. */
  readonly handsFree: boolean;
  /** The old key is compromised: no hold, no waves. */
  readonly urgent: boolean;
  /** The old root certifies the new one too, for verifiers out of our reach. */
  readonly crossSign: boolean;
  /** How long consumers that cannot acknowledge are waited for after they were last sent a bundle. */
  readonly holdSeconds: number;
  readonly requested: RotationRequest | null;
  /** Who asked for it, and after going back for what follows; null where that is who began the rotation. */
  readonly requestedBy: string | null;
  /** The requested step does not wait for its gate. */
  readonly force: boolean;
  readonly oldId: string;
  /** Null until it is prepared. */
  readonly newId: string | null;
  /** Since when nobody holds the next step up; null while somebody does. */
  readonly gateOpenSince: Date | null;
  readonly actor: string;
  readonly reason: string;
  readonly startedAt: Date;
}

/** How long whoever cannot acknowledge is waited for: after a compromise for nobody. */
export function holdSecondsOf({ urgent, holdSeconds }: Pick<Rotation, 'urgent' | 'holdSeconds'>): number {
  return urgent ? 0 : holdSeconds;
}

export type NewRotation = Omit<
  Rotation,
  'id' | 'startedAt' | 'requested' | 'requestedBy' | 'force' | 'newId' | 'gateOpenSince'
>;

export type RotationChange = Partial<
  Pick<
    Rotation,
    | 'handsFree'
    | 'urgent'
    | 'holdSeconds'
    | 'requested'
    | 'requestedBy'
    | 'force'
    | 'oldId'
    | 'newId'
    | 'gateOpenSince'
  > & {
    readonly outcome: 'done' | 'aborted';
  }
>;

/** One that is over. Its `newId` is null if it ended before that was made. */
export interface EndedRotation
  extends Pick<Rotation, 'id' | 'kind' | 'urgent' | 'oldId' | 'newId' | 'actor' | 'reason' | 'startedAt'> {
  readonly finishedAt: Date;
  readonly outcome: 'done' | 'aborted';
}
