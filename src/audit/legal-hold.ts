/** What must be kept, whatever the policy says. */
export interface NewLegalHold {
  /** A SPIFFE ID, or how it begins; null for everything. */
  readonly identity: string | null;
  readonly isPrefix: boolean;
  /** Of the time of recording: `from` inclusive, `to` exclusive; null for no such bound. */
  readonly from: Date | null;
  readonly to: Date | null;
  /** In the words of whoever asked for it. */
  readonly reason: string;
}

export interface LegalHold extends NewLegalHold {
  readonly id: number;
  readonly actor: string;
  readonly createdAt: Date;
  /** Null while it is in force. */
  readonly released: { readonly at: Date; readonly actor: string; readonly reason: string } | null;
}

/** The holds, each with the event of its beginning and of its end. */
export interface LegalHolds {
  /** Oldest first, those that were released too. */
  list(): Promise<LegalHold[]>;
  create(hold: NewLegalHold, actor: string): Promise<LegalHold>;
  /** Throws `not_found`, and `conflict` for one that was released already. */
  release(id: number, reason: string, actor: string): Promise<LegalHold>;
}
