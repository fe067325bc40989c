import { type ServiceError, status } from '@grpc/grpc-js';
import { CarnetError, type ErrorCode } from '../errors.ts';

const STATUS = {
  invalid_argument: status.INVALID_ARGUMENT,
  too_large: status.RESOURCE_EXHAUSTED,
  method_not_allowed: status.UNIMPLEMENTED,
  spiffe_id_invalid: status.INVALID_ARGUMENT,
  selector_invalid: status.INVALID_ARGUMENT,
  entry_invalid: status.INVALID_ARGUMENT,
  der_malformed: status.INVALID_ARGUMENT,
  csr_malformed: status.INVALID_ARGUMENT,
  cursor_invalid: status.INVALID_ARGUMENT,
  config_invalid: status.FAILED_PRECONDITION,
  key_unsupported: status.INVALID_ARGUMENT,
  key_weak: status.INVALID_ARGUMENT,
  proof_of_possession_failed: status.INVALID_ARGUMENT,
  certificate_lint_failed: status.INTERNAL,
  unauthenticated: status.UNAUTHENTICATED,
  permission_denied: status.PERMISSION_DENIED,
  attestation_failed: status.PERMISSION_DENIED,
  join_token_unknown: status.PERMISSION_DENIED,
  join_token_expired: status.PERMISSION_DENIED,
  join_token_used: status.PERMISSION_DENIED,
  node_token_expired: status.PERMISSION_DENIED,
  node_token_audience: status.PERMISSION_DENIED,
  node_token_used: status.PERMISSION_DENIED,
  agent_unknown: status.UNAUTHENTICATED,
  agent_banned: status.PERMISSION_DENIED,
  agent_copied: status.PERMISSION_DENIED,
  not_found: status.NOT_FOUND,
  already_exists: status.ALREADY_EXISTS,
  conflict: status.ABORTED,
  data_dir_in_use: status.FAILED_PRECONDITION,
  authority_unavailable: status.UNAVAILABLE,
  key_unseal_failed: status.FAILED_PRECONDITION,
  overloaded: status.RESOURCE_EXHAUSTED,
  rate_limited: status.RESOURCE_EXHAUSTED,
  database_unavailable: status.UNAVAILABLE,
  timeout: status.DEADLINE_EXCEEDED,
  unavailable: status.UNAVAILABLE,
  shutting_down: status.UNAVAILABLE,
  internal: status.INTERNAL,
} as const satisfies Record<ErrorCode, status>;

/** Whether a text from outside is one of our codes. */
export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(STATUS, text);
}

/** A status message travels in a header, of which clients bound the size. */
const MAX_DETAILS_LENGTH = 512;

/**
 * What a caller is told of an error: the code's status and our message. Of an error that isn't a
 * {@link CarnetError} it learns nothing but `INTERNAL`.
 */
export function statusOf(error: unknown): Pick<ServiceError, 'code' | 'details'> {
  if (!(error instanceof CarnetError)) return { code: status.INTERNAL, details: 'internal error' };
  // grpc-js escapes details with encodeURI, which throws on half a surrogate pair.
  return { code: STATUS[error.code], details: error.message.slice(0, MAX_DETAILS_LENGTH).toWellFormed() };
}
