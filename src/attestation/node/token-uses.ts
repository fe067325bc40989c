/** Which tokens were shown already, of those that are good for one attestation, to any of the servers. */
export interface TokenUses {
  /**
   * Whether this is the first use of the token that `sha256` stands for; it counts until `until` (milliseconds since the
   * epoch), when the token ends by itself. Throws `overloaded` where there are too many to remember, so that none is
   * forgotten before its time.
   */
  isFirst(sha256: Uint8Array, until: number): Promise<boolean>;
}
