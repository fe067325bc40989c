import { STATUS_CODES } from 'node:http';
import { type CarnetError, type ErrorCode, errorCodeOf, isRetryable } from '../errors.ts';

/** What each code is in HTTP (RFC 9110 §15). */
export const HTTP_STATUS = {
  invalid_argument: 400,
  too_large: 413,
  method_not_allowed: 405,
  spiffe_id_invalid: 400,
  selector_invalid: 400,
  entry_invalid: 400,
  der_malformed: 400,
  csr_malformed: 400,
  cursor_invalid: 400,
  config_invalid: 400,
  key_unsupported: 400,
  key_weak: 400,
  proof_of_possession_failed: 400,
  certificate_lint_failed: 500,
  unauthenticated: 401,
  permission_denied: 403,
  attestation_failed: 403,
  join_token_unknown: 403,
  join_token_expired: 403,
  join_token_used: 403,
  node_token_expired: 403,
  node_token_audience: 403,
  node_token_used: 403,
  agent_unknown: 401,
  agent_banned: 403,
  agent_copied: 403,
  not_found: 404,
  already_exists: 409,
  conflict: 409,
  data_dir_in_use: 500,
  authority_unavailable: 503,
  key_unseal_failed: 500,
  overloaded: 503,
  rate_limited: 429,
  database_unavailable: 503,
  unavailable: 503,
  timeout: 504,
  shutting_down: 503,
  internal: 500,
} as const satisfies Record<ErrorCode, number>;

/** For retryable errors that know no better: time for a replica or for Postgres to come back. */
export const RETRY_AFTER_SECONDS = 2;

/** An error as a client sees it (RFC 9457 §3.1). `type` is left out, which means `about:blank`. */
export interface Problem {
  readonly status: number;
  /** The status's own phrase (RFC 9457 §4.2.1). */
  readonly title: string;
  readonly code: ErrorCode;
  /** What was wrong, with the value, and what to do. */
  readonly detail: string;
  /** `urn:uuid:<request ID>`: finds this occurrence in the log. */
  readonly instance: string;
}

/**
 * The problem document for an error. Of an error that isn't a {@link CarnetError}, or whose code is
 * `internal`, nothing goes outside but the request's ID: the log has the whole.
 */
export function problemOf(error: unknown, requestId: string): Problem {
  const code = errorCodeOf(error);
  const status = HTTP_STATUS[code];
  return {
    status,
    title: STATUS_CODES[status] ?? 'Error',
    code,
    detail:
      code === 'internal'
        ? `an error of the server's own; its log has the details under request ${requestId}`
        : (error as CarnetError).message,
    instance: `urn:uuid:${requestId}`,
  };
}

/** Seconds for Retry-After (RFC 9110 §10.2.3), or null where trying again changes nothing. */
export function retryAfterSeconds(error: unknown): number | null {
  return isRetryable(error) ? RETRY_AFTER_SECONDS : null;
}
