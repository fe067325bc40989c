import pg from 'pg';
import { CarnetError } from '../errors.ts';

/**
 * What a failure of the driver or of PostgreSQL means to Carnet, by SQLSTATE (PostgreSQL, appendix A) or the
 * system's error code: `database_unavailable` and `timeout` may go better later; `invalid_argument` and
 * `permission_denied` say that the database refused the value. Anything else is a fault of ours, and comes back as it is.
 */
export function toCarnetError(error: unknown): unknown {
  if (error instanceof CarnetError || !(error instanceof Error)) return error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  if (error instanceof pg.DatabaseError) return ofSqlState(code, error);
  if (SYSTEM_CODES.has(code) || DRIVER_MESSAGES.some((message) => error.message.startsWith(message)))
    return unavailable(error);
  return error;
}

/** Whether the connection that `error` came over may serve further: only after a plain refusal of a statement. */
export function leavesConnectionUsable(error: unknown): boolean {
  return error instanceof pg.DatabaseError && error.severity === 'ERROR' && !isUnavailable(error.code ?? '');
}

/** Whatever keeps us from a connection, from a refused socket to a bad certificate. */
export function unavailable(error: unknown): CarnetError {
  const why = error instanceof Error ? error.message : String(error);
  return new CarnetError('database_unavailable', `the database is not available: ${why}`, { cause: error });
}

/** The client's own bound on a statement ran out: the outcome is unknown, the connection lost. */
export function statementTimeout(milliseconds: number): CarnetError {
  return new CarnetError('timeout', `the database did not answer within ${milliseconds} ms: try again later`);
}

const SYSTEM_CODES: ReadonlySet<string> = new Set([
  'ECONNRESET',
  'ECONNABORTED',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
]);

/** The beginnings of what pg, which has no codes for it, says of a lost connection. */
const DRIVER_MESSAGES = [
  'Connection terminated',
  'Client has encountered a connection error',
  'Client was closed',
];

function ofSqlState(code: string, error: Error): unknown {
  if (isUnavailable(code)) return unavailable(error);
  if (TIMEOUTS.has(code))
    return new CarnetError('timeout', `the database gave up: ${error.message}: try again later`, {
      cause: error,
    });
  if (code === UNIQUE_VIOLATION)
    return new CarnetError('already_exists', `the database has it already: ${error.message}`, {
      cause: error,
    });
  // Our own trigger's words (migration 0002): an authority that is retired signs no more, and what is revoked gets
  // nothing more.
  if (code === '55000') return new CarnetError('authority_unavailable', error.message, { cause: error });
  if (code === 'CN403') return new CarnetError('permission_denied', error.message, { cause: error });
  // What keeps a partition (migration 0016).
  if (code === 'CN409') return new CarnetError('conflict', error.message, { cause: error });
  if (/^2[23]/.test(code))
    return new CarnetError('invalid_argument', `the database refused a value: ${error.message}`, {
      cause: error,
    });
  return error;
}

const UNIQUE_VIOLATION = '23505';
/** query_canceled (statement_timeout), lock_not_available, and the two timeouts of a transaction's session. */
const TIMEOUTS: ReadonlySet<string> = new Set(['57014', '55P03', '25P03', '25P04']);

/**
 * Classes 08 connection, 28 authorization, 3D database, 40 rollback for a conflict, 53 resources (disk full, too
 * many connections), 57P shutdown, 58 system error; and 25006, a server that became a read-only replica.
 */
function isUnavailable(code: string): boolean {
  return /^(?:08|28|3D|40|53|57P|58|25006)/.test(code);
}
