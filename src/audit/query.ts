import type { RegistrationEntry } from '../policy/entry.ts';
import type { RevocationReason } from '../x509/revocation-reason.ts';
import type { Issuance } from './issuance.ts';

/** All given fields must fit, exactly; `from` is inclusive, `to` exclusive, both of the time of recording. */
export interface IssuanceFilter {
  readonly identity?: string;
  /** The beginning of a whole SPIFFE ID, in ASCII: with a slash at its end it ends with a segment. */
  readonly identityPrefix?: string;
  readonly instance?: string;
  readonly serial?: string;
  readonly node?: string;
  readonly entry?: string;
  /** Of `entry`, which must be given too. */
  readonly entryVersion?: number;
  readonly authority?: string;
  readonly requester?: string;
  readonly profile?: string;
  /** SHA-256 of the certificate (of a JWT-SVID the token) or of its public key: 64 digits of lower-case hex. */
  readonly fingerprint?: string;
  /** Within its validity at this time, and not revoked by then. */
  readonly validAt?: Date;
  /** Within its validity at this time, revoked or not. */
  readonly unexpiredAt?: Date;
  /** Whether it is revoked now. */
  readonly revoked?: boolean;
  readonly from?: Date;
  readonly to?: Date;
}

export interface RecordedIssuance extends Issuance {
  /** When the database recorded it, by its own clock: microseconds since the epoch. */
  readonly recordedAtMicros: bigint;
}

export interface IssuancePage {
  /** Newest first, by time of recording. */
  readonly items: readonly RecordedIssuance[];
  /** Opaque; null on the last page. */
  readonly nextCursor: string | null;
}

/** What ended a certificate before its time. */
export interface Revocation {
  readonly revokedAt: Date;
  readonly reasonCode: RevocationReason;
  /** In the operator's words. */
  readonly reason: string;
  readonly actor: string;
}

export interface IssuanceDetail extends RecordedIssuance {
  /** The registration entry's version that granted it, whole. */
  readonly entry: RegistrationEntry | null;
  /** Null for one that is not revoked. */
  readonly revocation: Revocation | null;
}

export interface IssuanceQuery {
  /** At most `limit` (1 to 1000) from the cursor on. Throws `cursor_invalid`. */
  search(filter: IssuanceFilter, page: { limit: number; cursor: string | null }): Promise<IssuancePage>;
  /** By serial, lower-case hex. */
  get(serial: string): Promise<IssuanceDetail | undefined>;
  /** Of these serials, 32 digits of lower-case hex each, the ones that are not on record. */
  unrecorded(serials: readonly string[]): Promise<Set<string>>;
}
