import type { Role } from './role.ts';

/** A bearer token without its secret, which nobody but its holder has. */
export interface Token {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  /** What it is limited to; null for all that its role may. */
  readonly scopes: readonly string[] | null;
  readonly createdAt: Date;
  readonly expiresAt: Date | null;
  readonly revokedAt: Date | null;
  /** To the minute or so; null for never. */
  readonly lastUsedAt: Date | null;
}

export type NewToken = Pick<Token, 'name' | 'role' | 'scopes' | 'expiresAt'> & {
  /** Of the whole token text. */
  readonly sha256: Uint8Array;
};

export interface TokenStore {
  /** Creates with an operator event in one transaction. Throws `already_exists` for a taken name. */
  create(token: NewToken, actor: string): Promise<Token>;
  /** The token by its hash, revoked and expired ones too. */
  find(sha256: Uint8Array): Promise<Token | undefined>;
  /** Notes its use, unless one of the minute before is noted. */
  used(id: string, at: Date): Promise<void>;
  list(): Promise<Token[]>;
  /** Throws `not_found`. */
  revoke(id: string, actor: string): Promise<Token>;
}
