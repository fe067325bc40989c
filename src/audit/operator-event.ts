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
