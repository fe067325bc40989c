import type { TrustDomain } from './spiffe-id.ts';

/** What a verifier must trust to accept a trust domain's SVIDs (SPIFFE Trust Domain and Bundle §4). */
export interface TrustBundle {
  readonly trustDomain: TrustDomain;
  /** Grows with every change of the contents (`spiffe_sequence`, §4.1.1). */
  readonly sequence: number;
  /**
   * Of the bundle that last changed `x509Authorities` or `crls`: what proxies, which get no JWT keys, are sent and
   * acknowledge.
   */
  readonly x509Sequence: number;
  /** Self-signed root certificates, DER, in the order in which they were made. */
  readonly x509Authorities: readonly Uint8Array[];
  /**
   * A CRL of each CA that signs, or has signed what is still presented, DER. All of them or none: once a verifier
   * (Envoy) has one, it refuses every chain for which it has none.
   */
  readonly crls: readonly Uint8Array[];
  /** Keys by which JWT-SVIDs are verified, in the order in which they were made. */
  readonly jwtAuthorities: readonly JwtAuthority[];
}

/** A key by which JWT-SVIDs are verified (JWT-SVID §6). */
export interface JwtAuthority {
  /** The `kid` of its tokens: no other key of the trust domain has it. */
  readonly keyId: string;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array;
}
