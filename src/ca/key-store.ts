import { CarnetError } from '../errors.ts';
import type { NewAuthority } from './authority-store.ts';
import type { KeyAlgorithm, Signer } from './signer.ts';

/** What is stored of an authority's key. */
export type KeptKey = Pick<NewAuthority, 'sealedKey' | 'keyReference'>;
/** What is needed to find an authority's key again, and to know that it is the one. */
export interface StoredKey extends KeptKey, Pick<NewAuthority, 'id' | 'keyAlgorithm'> {
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array;
}
/** What is needed to end it. */
export type DoomedKey = Pick<StoredKey, 'id' | 'keyReference'>;

/** Whether we have the key: it is not destroyed, and not an outside CA's. */
export function hasKey({ sealedKey, keyReference }: KeptKey): boolean {
  return sealedKey !== null || keyReference !== null;
}

/** A private key just made, of an authority that has no name yet. One of `keep` and `discard` ends it. */
export interface NewKey {
  readonly signer: Signer;
  /** Gives it its authority's name, and returns what has to be stored to open it again. */
  keep(authorityId: string): Promise<KeptKey>;
  /** Nothing of it stays. */
  discard(): Promise<void>;
}

/** Where the private keys of our authorities are made, kept and used: sealed in the database, or in hardware. */
export interface KeyStore {
  /** Throws `key_unsupported` for an algorithm that it does not have, `authority_unavailable`. */
  generate(algorithm: KeyAlgorithm): Promise<NewKey>;
  /**
   * The signer of a key that was kept. Throws `key_unseal_failed`, also for a key that is not the public one's.
   * A key in hardware is looked for when it first signs: then a token that is away is `authority_unavailable`.
   */
  open(stored: StoredKey): Signer;
  /** The key is no more, here or in the token; what is stored is the caller's to remove. Done twice, it is done. */
  destroy(stored: DoomedKey): Promise<void>;
  /** Why keys cannot be used now, for people; null while they can. */
  readonly problem: string | null;
  close(): Promise<void>;
}

export interface KeyStores {
  readonly sealed: KeyStore;
  /** Null where there is none. */
  readonly token: KeyStore | null;
  /** Where new keys are made. */
  readonly newKeys: KeyStore;
}

/** Keys of both kinds. */
export interface AllKeys extends KeyStore {
  /** Where keys are made that a token does not have. */
  readonly sealed: KeyStore;
}

/** Keys of both kinds, each opened where it is: so authorities move into hardware, or out of it, by rotation. */
export function keyStores({ sealed, token, newKeys }: KeyStores): AllKeys {
  const storeOf = ({ id, keyReference }: DoomedKey): KeyStore => {
    if (keyReference === null) return sealed;
    if (token !== null) return token;
    throw new CarnetError(
      'authority_unavailable',
      `the key of authority ${id} is in hardware, at ${keyReference}: give --pkcs11-module and its token`,
    );
  };
  return {
    sealed,
    generate: (algorithm) => newKeys.generate(algorithm),
    open: (stored) => storeOf(stored).open(stored),
    destroy: async (stored) => storeOf(stored).destroy(stored),
    get problem() {
      return token?.problem ?? null;
    },
    close: async () => token?.close(),
  };
}
