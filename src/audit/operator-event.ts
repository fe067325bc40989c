/** A change that a person or a schedule made: registration, tokens, authorities. Append-only, like issuances. */
export interface OperatorEvent {
  /** Who: `operator:<token name>`, `schedule:<name>`, `server:<what>` at first start. */
  readonly actor: string;
  /** What, as `<noun>.<verb>`: `entry.create`, `token.create`, `authority.activate`. */
  readonly action: string;
  /** ID of the entry, token or authority. */
  readonly subject: string;
  /** The state before and after, JSON-safe, without secrets; null where there was or is none. */
  readonly before: Readonly<Record<string, unknown>> | null;
  readonly after: Readonly<Record<string, unknown>> | null;
  /** Why, in the actor's words; may be empty. */
  readonly reason: string;
}

export interface RecordedOperatorEvent extends OperatorEvent {
  /** By the database's clock: microseconds since the epoch. */
  readonly recordedAtMicros: bigint;
  /** Of its leaf; null until it is in the log. */
  readonly logIndex: number | null;
}

/** All given fields must fit; `from` is inclusive, `to` exclusive, both of the time of recording. */
export interface OperatorEventFilter {
  readonly actor?: string;
  /** A whole action, or with a dot at its end all of a noun: `entry.`. */
  readonly action?: string;
  readonly subject?: string;
  readonly from?: Date;
  readonly to?: Date;
}

export interface OperatorEventPage {
  /** Newest first, by time of recording. */
  readonly items: readonly RecordedOperatorEvent[];
  /** Opaque; null on the last page. */
  readonly nextCursor: string | null;
}

export interface OperatorEventQuery {
  /** At most `limit` (1 to 1000) from the cursor on. Throws `cursor_invalid`. */
  search(
    filter: OperatorEventFilter,
    page: { limit: number; cursor: string | null },
  ): Promise<OperatorEventPage>;
}
