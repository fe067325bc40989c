/** A join token as operators see it: without its secret, which nobody but its holder has. */
export interface JoinTokenRecord {
  readonly id: string;
  /** Whose agent it lets in; null for a node that is named after the token. */
  readonly node: string | null;
  /** `node:…` selectors that the node gets. */
  readonly selectors: readonly string[];
  readonly actor: string;
  readonly createdAt: Date;
  readonly expiresAt: Date;
  readonly usedAt: Date | null;
  /** The node that it let in. */
  readonly usedBy: string | null;
  readonly revokedAt: Date | null;
}

export interface NewJoinToken {
  readonly id: string;
  readonly sha256: Uint8Array;
  readonly node: string | null;
  readonly selectors: readonly string[];
  readonly expiresAt: Date;
}

/** The join tokens, by their hashes. Each change is on record as an operator's event. */
export interface JoinTokenStore {
  /** Throws `conflict` for a node whose agent is banned or that a server runs on, and past the limit on usable tokens. */
  create(token: NewJoinToken, actor: string): Promise<JoinTokenRecord>;
  /** By time of making; those that can't be used any more for a week. */
  list(): Promise<JoinTokenRecord[]>;
  /** One that is used or revoked already stays as it is. Throws `not_found`. */
  revoke(id: string, actor: string): Promise<JoinTokenRecord>;
  /** Uses it up: of several callers one gets it. Throws `join_token_unknown`, `join_token_expired`, `join_token_used`. */
  use(sha256: Uint8Array): Promise<JoinTokenRecord>;
}
