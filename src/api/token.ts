/** What the bearer of a token may do: `auditor` reads everything, `admin` also changes. */
export const ROLES = ['admin', 'auditor'] as const;
export type Role = (typeof ROLES)[number];

/** A bearer token without its secret, which nobody but its holder has. */
export interface Token {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  readonly createdAt: Date;
  readonly expiresAt: Date | null;
  readonly revokedAt: Date | null;
}

export interface TokenStore {
  /** Creates with an operator event in one transaction; `sha256` is of the whole token text. Throws `already_exists` for a taken name. */
  create(
    token: { name: string; role: Role; expiresAt: Date | null; sha256: Uint8Array },
    actor: string,
  ): Promise<Token>;
  /** The token by its hash, revoked and expired ones too. */
  find(sha256: Uint8Array): Promise<Token | undefined>;
  list(): Promise<Token[]>;
  /** Throws `not_found`. */
  revoke(id: string, actor: string): Promise<Token>;
}
