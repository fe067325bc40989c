/** A way to attest nodes; one file for each method implements it, and the wiring names them all. */
export interface NodeAttestor {
  /** As agents name it: `join_token`, `x509pop`, `k8s_psat`, `oidc`. */
  readonly method: string;
  /**
   * Finds out which node sends `payload`, in bounded time. `challenge` sends the agent what it must answer, and resolves
   * to the answer; it may be called a few times. Throws `attestation_failed` and codes of the method's own for a
   * refusal, `unavailable` and its like where nothing is decided.
   */
  attest(
    payload: Uint8Array,
    challenge: (question: Uint8Array) => Promise<Uint8Array>,
  ): Promise<AttestedNode>;
}

/** What attestation found of a node. */
export interface AttestedNode {
  /** As `parseNodeName` takes it; the agent's identity ends in it. No two nodes may get the same one. */
  readonly name: string;
  /** `node:<key>:<value>`, without `node:name`, which every node gets. */
  readonly selectors: readonly string[];
  /** What was seen, as it is recorded with the agent's certificates: JSON-safe, without secrets, a few KiB at most. */
  readonly evidence: Readonly<Record<string, unknown>>;
  /** Whether the same agent can do it again by itself: then its certificate's end is no end. */
  readonly reattestable: boolean;
}
