import type { Issuance } from '../audit/issuance.ts';
import type { OperatorEvent } from '../audit/operator-event.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import type { Authority, AuthorityState } from './authority.ts';
import type { KeyAlgorithm } from './signer.ts';

export interface StoredAuthority extends Authority {
  readonly keyAlgorithm: KeyAlgorithm;
  /** The private key under the key-encryption key (ca/seal.ts); null once destroyed, or in hardware. */
  readonly sealedKey: Uint8Array | null;
  readonly createdAt: Date;
}

/** One transaction under the lock that all changes of authorities take, in every replica. */
export interface AuthorityTransaction {
  list(): Promise<StoredAuthority[]>;
  insert(authority: Omit<StoredAuthority, 'createdAt'>): Promise<void>;
  setState(id: string, state: AuthorityState): Promise<void>;
  /** Makes the next bundle of these roots, in this order; its sequence number is the last one's plus one. */
  publishBundle(rootIds: readonly string[]): Promise<void>;
  record(issuance: Issuance): Promise<void>;
  event(event: OperatorEvent): Promise<void>;
}

export interface AuthorityStore {
  list(): Promise<StoredAuthority[]>;
  /** The latest bundle; undefined before the first start has made one. */
  bundle(): Promise<Omit<TrustBundle, 'trustDomain'> | undefined>;
  /** Runs `work` in a transaction under the lock; commits when it resolves, and then wakes every replica. */
  transact<T>(work: (tx: AuthorityTransaction) => Promise<T>): Promise<T>;
}
