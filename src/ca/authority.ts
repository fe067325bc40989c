import type { Signer } from './signer.ts';

/** A root signs issuing CAs only; an issuing CA signs leaves only. */
export type AuthorityKind = 'root' | 'issuing';

export type AuthorityState = 'prepared' | 'published' | 'active' | 'draining' | 'retired' | 'tainted';

/** A CA key and certificate that we run, without the key. */
export interface Authority {
  /** `root-<8 hex>` or `issuing-<8 hex>`, of its subject key identifier. */
  readonly id: string;
  readonly kind: AuthorityKind;
  readonly state: AuthorityState;
  /** The authority that signed it; its own ID for a root. */
  readonly parentId: string;
  /** DER. */
  readonly certificate: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
}

/** An authority whose key is at hand. */
export interface SigningAuthority extends Authority {
  readonly signer: Signer;
  /** From its own certificate up to, and without, the root: what a leaf's chain continues with. DER. */
  readonly chain: readonly Uint8Array[];
}
