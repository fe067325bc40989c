import type { Issuance } from '../audit/issuance.ts';
import type { OperatorEvent } from '../audit/operator-event.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import type { Denial } from '../revocation/denial.ts';
import type { Consumer, Outstanding } from '../rotation/fleet.ts';
import type { NewRotation, Rotation, RotationChange } from '../rotation/rotation.ts';
import type { CrlEntry } from '../x509/crl.ts';
import type { RevocationReason } from '../x509/revocation-reason.ts';
import type { Authority, AuthorityState } from './authority.ts';
import type { NewJwtKey, StoredJwtKey } from './jwt-key.ts';
import type { StoredKey } from './key-store.ts';
import type { KeyAlgorithm } from './signer.ts';
import type { UpstreamRequest } from './upstream-request.ts';

export interface StoredAuthority extends Authority {
  readonly keyAlgorithm: KeyAlgorithm;
  /** The private key under the key-encryption key (ca/seal.ts); null once destroyed, or kept elsewhere. */
  readonly sealedKey: Uint8Array | null;
  /** Where a key in hardware is found; null for one that is sealed, destroyed or not ours. */
  readonly keyReference: string | null;
  /** A new root signed by the old one, for verifiers out of our reach; DER. */
  readonly crossCertificate: Uint8Array | null;
  /** Of an issuing CA that is not signed by its root itself: from its issuer up to, and without, the root. DER. */
  readonly intermediates: readonly Uint8Array[];
  /** Sequence of the first bundle that had this root, or this CA's CRL; null before. */
  readonly publishedSequence: number | null;
  readonly createdAt: Date;
  readonly stateSince: Date;
}

/** An authority as it is first stored. */
export type NewAuthority = Omit<StoredAuthority, 'createdAt' | 'stateSince' | 'publishedSequence'>;

/** A CRL as it is published (RFC 5280 §5). */
export interface StoredCrl {
  readonly authorityId: string;
  /** CRL number (§5.2.3), from 1, without gaps. */
  readonly number: number;
  /** DER. */
  readonly crl: Uint8Array;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
}

/** One transaction under the lock that all changes of authorities take, in every replica. */
export interface AuthorityTransaction {
  /** By time of making. */
  list(): Promise<StoredAuthority[]>;
  insert(authority: NewAuthority): Promise<void>;
  /** Keys that sign JWT-SVIDs, by time of making. `setState`, `reseal` and `destroyKey` are for them as well. */
  jwtKeys(): Promise<StoredJwtKey[]>;
  insertJwtKey(key: NewJwtKey): Promise<void>;
  setState(id: string, state: AuthorityState): Promise<void>;
  /** Puts the same key under another key-encryption key. */
  reseal(id: string, sealedKey: Uint8Array): Promise<void>;
  /** Removes the sealed key, for ever. */
  destroyKey(id: string): Promise<void>;
  /** Our key that waits for an outside CA's answer; null for none. */
  /** The key of the log's checkpoints; null before the log has begun. */
  logKey(): Promise<Pick<StoredKey, 'id' | 'sealedKey'> | null>;
  resealLogKey(sealedKey: Uint8Array): Promise<void>;
  upstreamRequest(): Promise<UpstreamRequest | null>;
  replaceUpstreamRequest(request: UpstreamRequest | null): Promise<void>;
  /** The latest CRL of each authority that has one. */
  crls(): Promise<StoredCrl[]>;
  insertCrl(crl: StoredCrl): Promise<void>;
  /**
   * Makes the next bundle of these roots, in this order, and the latest CRLs of these authorities; its sequence
   * number is greater than the last one's, and is noted on those of them that had none. Keys of JWT-SVIDs that are
   * published or further are in it by themselves. Returns it.
   */
  publishBundle(rootIds: readonly string[], crlAuthorityIds: readonly string[]): Promise<number>;
  /** Makes the next bundle of the same roots, and the latest CRLs of the same authorities. */
  republishBundle(): Promise<number>;
  /** All denials, the lifted ones too. */
  denials(): Promise<Denial[]>;
  insertDenial(denial: Pick<Denial, 'identity' | 'instance' | 'node' | 'reason' | 'actor'>): Promise<number>;
  /** Throws `not_found`. */
  liftDenial(id: number): Promise<void>;
  /** Revokes all that fits a denial, is valid and isn't revoked; returns who signed each. */
  revokeMatching(denialId: number, reasonCode: RevocationReason): Promise<readonly { authorityId: string }[]>;
  /** Revokes one certificate; done twice, it is done. */
  revokeCertificate(revoked: RevokedCertificate): Promise<void>;
  /** What the CRL of an authority must name. */
  revoked(authorityId: string): Promise<CrlEntry[]>;
  /** Whose certificate has this serial; undefined for none. */
  issuance(serial: string): Promise<{ identity: string; instance: string | null } | undefined>;
  /** Open rotations, at most one of each kind. */
  rotations(): Promise<Rotation[]>;
  /** Whether a rotation of this kind was begun at or after this time, by the database's clock. */
  rotatedSince(kind: Rotation['kind'], time: Date): Promise<boolean>;
  insertRotation(rotation: NewRotation): Promise<void>;
  updateRotation(id: number, change: RotationChange): Promise<void>;
  consumers(): Promise<Consumer[]>;
  /** What these authorities have signed for workloads that has neither ended nor been revoked. */
  outstanding(authorityIds: readonly string[]): Promise<Outstanding>;
  /** Tokens that this key has signed and that have not ended. */
  outstandingTokens(keyId: string): Promise<Outstanding>;
  record(issuance: Issuance): Promise<void>;
  event(event: OperatorEvent): Promise<void>;
}

/** One certificate that is revoked by name. */
export interface RevokedCertificate {
  /** Lower-case hex. */
  readonly serial: string;
  /** Who signed it, and whose CRL names it. */
  readonly authorityId: string;
  readonly notAfter: Date;
  readonly reasonCode: RevocationReason;
  readonly reason: string;
  readonly actor: string;
}

export interface AuthorityStore {
  list(): Promise<StoredAuthority[]>;
  jwtKeys(): Promise<StoredJwtKey[]>;
  /** The latest bundle; undefined before the first start has made one. */
  bundle(): Promise<Omit<TrustBundle, 'trustDomain'> | undefined>;
  /** Open rotations, at most one of each kind. */
  rotations(): Promise<Rotation[]>;
  /** Runs `work` in a transaction under the lock; commits when it resolves, and then wakes every replica. */
  transact<T>(work: (tx: AuthorityTransaction) => Promise<T>): Promise<T>;
}
