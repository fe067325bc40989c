import type { Attestation } from '../attestation/attestation.ts';
import type { Grant } from '../policy/entry.ts';

/** One JWT-SVID, asked for by an agent on behalf of an attested instance. */
export interface JwtRequest {
  readonly grant: Grant;
  /** Whom it is for. */
  readonly audience: readonly string[];
  readonly attestation: Attestation;
  readonly node: string;
  /** As recorded: `agent:<node>`. */
  readonly requester: string;
}

/** A recorded token. Whoever has it is its subject: never logged, never written. */
export interface IssuedJwt {
  /** JWS, compact serialization. */
  readonly token: string;
  readonly issuedAt: Date;
  readonly expiresAt: Date;
}

/** Resolves only after the record is committed. */
export type MintJwt = (request: JwtRequest) => Promise<IssuedJwt>;
