import type { CarnetError } from '../errors.ts';

/** What a stream is to say now: always all of it (Workload API §4.3). */
export type Answer<Message> =
  /** Something may yet be issued. */
  | { readonly kind: 'wait' }
  | { readonly kind: 'message'; readonly message: Message; readonly version: string }
  /** The caller is entitled to nothing, or to nothing any more (§5.2.1). */
  | { readonly kind: 'end'; readonly error: CarnetError };

/** A stream so far. */
export interface StreamState {
  /** Of the last message; null before the first. */
  readonly version: string | null;
  /** False from a message until the transport has taken it. */
  readonly writable: boolean;
}

export const INITIAL_STATE: StreamState = { version: null, writable: true };

/**
 * What is due on a stream: derived from what it was sent last, so that a client that doesn't read costs no queue, and
 * gets the latest when it does. Null: nothing.
 */
export function due<Message>(
  { version, writable }: StreamState,
  answer: Answer<Message>,
): Exclude<Answer<Message>, { kind: 'wait' }> | null {
  if (answer.kind === 'end') return answer;
  if (answer.kind === 'wait' || !writable || answer.version === version) return null;
  return answer;
}
