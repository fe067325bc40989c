import type { SpiffeId } from '../identity/spiffe-id.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';

/** One X.509-SVID with its key, as it is handed to its workload. Immutable; a renewal makes a new one. */
export interface X509Svid {
  readonly identity: SpiffeId;
  /** Lower-case hex. */
  readonly serial: string;
  /** Leaf first, then its issuers without the root. DER. */
  readonly chain: readonly Uint8Array[];
  /** PKCS#8, DER. Never logged, never written. */
  readonly privateKey: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly entryId: string;
  /** ID of the authority that signed the leaf. */
  readonly authority: string;
}

/** All that one instance holds at a moment. Immutable: a change replaces the whole, so `===` tells it. */
export interface Holdings {
  /** In the order of their grants, the narrowest entry's first: it is the caller's `default`. */
  readonly svids: readonly X509Svid[];
  readonly bundle: TrustBundle;
  /**
   * Of the other trust domains that its entries federate with, or did while it was connected, by trust domain. One
   * without roots and keys: nothing of that domain is trusted, now or any more.
   */
  readonly federated: readonly TrustBundle[];
  /** False while an identity that the instance is entitled to has never been issued to it. */
  readonly complete: boolean;
  /** Why it isn't complete, for people; null when it is or when the first try is still under way. */
  readonly problem: string | null;
}

/** One instance's holdings, now and as they change. All connections of the instance share it. */
export interface Holder {
  readonly instance: string;
  current(): Holdings;
  /** Calls `listener` after each change, never at once. Returns the function that ends it. */
  subscribe(listener: () => void): () => void;
}
