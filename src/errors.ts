/**
 * Every way in which Carnet refuses or fails. The set is closed: the maps to HTTP (api/problem.ts) and to
 * gRPC status (grpc/status.ts) are complete over it.
 */
export type ErrorCode =
  // What was asked for is malformed.
  | 'invalid_argument'
  | 'too_large'
  | 'method_not_allowed'
  | 'spiffe_id_invalid'
  | 'selector_invalid'
  | 'entry_invalid'
  | 'der_malformed'
  | 'csr_malformed'
  | 'cursor_invalid'
  | 'config_invalid'
  // The key or certificate isn't one that we accept.
  | 'key_unsupported'
  | 'key_weak'
  | 'proof_of_possession_failed'
  | 'certificate_lint_failed'
  // The caller isn't known, or may not.
  | 'unauthenticated'
  | 'permission_denied'
  | 'attestation_failed'
  | 'join_token_unknown'
  | 'join_token_expired'
  | 'join_token_used'
  | 'node_token_expired'
  | 'node_token_audience'
  | 'node_token_used'
  | 'agent_unknown'
  | 'agent_banned'
  | 'agent_copied'
  // The state of things forbids it.
  | 'not_found'
  | 'already_exists'
  | 'conflict'
  | 'data_dir_in_use'
  | 'authority_unavailable'
  | 'key_unseal_failed'
  // Later may go better: retry with back-off.
  | 'overloaded'
  | 'rate_limited'
  | 'database_unavailable'
  | 'timeout'
  | 'unavailable'
  | 'shutting_down'
  // Ours.
  | 'internal';

/** The one error type of Carnet. `message` says what was wrong, with the value, and what to do. */
export class CarnetError extends Error {
  override readonly name = 'CarnetError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** The error's code, or `internal` for anything that isn't a {@link CarnetError}. */
export function errorCodeOf(error: unknown): ErrorCode {
  return error instanceof CarnetError ? error.code : 'internal';
}

const RETRYABLE: ReadonlySet<ErrorCode> = new Set([
  'overloaded',
  'rate_limited',
  'database_unavailable',
  'timeout',
  'unavailable',
  'shutting_down',
  'authority_unavailable',
]);

/** Whether the same call may succeed later without a change by the caller. */
export function isRetryable(error: unknown): boolean {
  return RETRYABLE.has(errorCodeOf(error));
}
