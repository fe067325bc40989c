import type { Issuance } from '../audit/issuance.ts';
import type { OperatorEvent } from '../audit/operator-event.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import type { Consumer, Outstanding } from '../rotation/fleet.ts';
import type { NewRotation, Rotation, RotationChange } from '../rotation/rotation.ts';
import type { Authority, AuthorityState } from './authority.ts';
import type { KeyAlgorithm } from './signer.ts';

export interface StoredAuthority extends Authority {
  readonly keyAlgorithm: KeyAlgorithm;
  /** The private key under the key-encryption key (ca/seal.ts); null once destroyed, or kept elsewhere. */
  readonly sealedKey: Uint8Array | null;
  /** Where a key in hardware is found; null for one that is sealed, destroyed or not ours. */
  readonly keyReference: string | null;
  /** A new root signed by the old one, for verifiers out of our reach; DER. */
  readonly crossCertificate: Uint8Array | null;
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
  setState(id: string, state: AuthorityState): Promise<void>;
  /** Puts the same key under another key-encryption key. */
  reseal(id: string, sealedKey: Uint8Array): Promise<void>;
  /** Removes the sealed key, for ever. */
  destroyKey(id: string): Promise<void>;
  /** The latest CRL of each authority that has one. */
  crls(): Promise<StoredCrl[]>;
  insertCrl(crl: StoredCrl): Promise<void>;
  /**
   * Makes the next bundle of these roots, in this order, and the latest CRLs of these authorities; its sequence
   * number is the last one's plus one, and is noted on those of them that had none. Returns it.
   */
  publishBundle(rootIds: readonly string[], crlAuthorityIds: readonly string[]): Promise<number>;
  /** Makes the next bundle of the same roots, and the latest CRLs of the same authorities. */
  republishBundle(): Promise<number>;
  /** Open rotations, at most one of each kind. */
  rotations(): Promise<Rotation[]>;
  /** Whether a rotation of this kind was begun at or after this time, by the database's clock. */
  rotatedSince(kind: Rotation['kind'], time: Date): Promise<boolean>;
  insertRotation(rotation: NewRotation): Promise<void>;
  updateRotation(id: number, change: RotationChange): Promise<void>;
  consumers(): Promise<Consumer[]>;
  /** What these authorities have signed for workloads that has neither ended nor been revoked. */
  outstanding(authorityIds: readonly string[]): Promise<Outstanding>;
  record(issuance: Issuance): Promise<void>;
  event(event: OperatorEvent): Promise<void>;
}

export interface AuthorityStore {
  list(): Promise<StoredAuthority[]>;
  /** The latest bundle; undefined before the first start has made one. */
  bundle(): Promise<Omit<TrustBundle, 'trustDomain'> | undefined>;
  /** Open rotations, at most one of each kind. */
  rotations(): Promise<Rotation[]>;
  /** Runs `work` in a transaction under the lock; commits when it resolves, and then wakes every replica. */
  transact<T>(work: (tx: AuthorityTransaction) => Promise<T>): Promise<T>;
}
