/** How this node proves to the servers who it is. One file for each method implements it. */
export interface NodeAttestor {
  /** As the servers name it. */
  readonly method: 'join_token' | 'x509pop' | 'k8s_psat' | 'oidc';
  /** What is shown, read anew at each use. Throws `config_invalid`, `attestation_failed` for what is spent. */
  claim(): Promise<NodeClaim>;
}

export interface NodeClaim {
  readonly payload: Uint8Array;
  /** SHA-256 of the roots that are trusted where no trust bundle is given; none by most methods. */
  readonly rootSha256: readonly Uint8Array[];
  /** Answers the server's challenge; null for a method that has none. */
  readonly answer: ((challenge: Uint8Array) => Uint8Array) | null;
  /** A server took or refused the claim: one that is good for once is spent. */
  readonly onAnswered: () => void;
}
