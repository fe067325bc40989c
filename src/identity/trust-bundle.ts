import type { TrustDomain } from './spiffe-id.ts';

/** A trust domain's X.509 authorities: what a verifier must trust to accept its SVIDs (SPIFFE Trust Domain and Bundle §4). */
export interface TrustBundle {
  readonly trustDomain: TrustDomain;
  /** Grows with every change of the contents (`spiffe_sequence`, §4.1.1). */
  readonly sequence: number;
  /** Self-signed root certificates, DER, in the order in which they were made. */
  readonly x509Authorities: readonly Uint8Array[];
  /**
   * A CRL of each CA that signs, or has signed what is still presented, DER. All of them or none: once a verifier
   * (Envoy) has one, it refuses every chain for which it has none.
   */
  readonly crls: readonly Uint8Array[];
}
