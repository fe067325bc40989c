import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { CarnetError, type ErrorCode, errorCodeOf } from '../errors.ts';
import { isErrorCode, statusOf } from './status.ts';

/** Between our own parts an error keeps its code, of which a gRPC status says less. */
const CODE_KEY = 'carnet-code';
/** How long to wait before the next try, in whole milliseconds; where the refusing side knows. */
const RETRY_KEY = 'carnet-retry-after-ms';

/** As {@link statusOf}, and in the trailing metadata our own code, and `retryAfterMs` where it is given. */
export function statusWithCode(
  error: unknown,
  retryAfterMs: number | null = null,
): Pick<ServiceError, 'code' | 'details' | 'metadata'> {
  const metadata = new Metadata();
  metadata.set(CODE_KEY, errorCodeOf(error));
  if (retryAfterMs !== null) metadata.set(RETRY_KEY, String(Math.ceil(retryAfterMs)));
  return { ...statusOf(error), metadata };
}

/** What gRPC itself says where no server of ours has answered. */
const CODE_OF_STATUS: Partial<Record<status, ErrorCode>> = {
  [status.UNAVAILABLE]: 'unavailable',
  [status.DEADLINE_EXCEEDED]: 'timeout',
  [status.RESOURCE_EXHAUSTED]: 'too_large',
  [status.INVALID_ARGUMENT]: 'invalid_argument',
  [status.UNIMPLEMENTED]: 'method_not_allowed',
  [status.UNAUTHENTICATED]: 'unauthenticated',
  [status.PERMISSION_DENIED]: 'permission_denied',
};

/** The error that a server of ours answered a call with; `unavailable` and the like for what gRPC says itself. */
export function carnetErrorOf(error: ServiceError): CarnetError {
  const said = String(error.metadata?.get(CODE_KEY)[0] ?? '');
  const code = isErrorCode(said) ? said : (CODE_OF_STATUS[error.code] ?? 'internal');
  return new CarnetError(code, detailsOf(error), { cause: error });
}

/** What grpc-js puts around the reason why there is no connection. */
const NO_CONNECTION =
  /^No connection established\. Last error: (?:[A-Za-z]*Error: )?(.*)\. Resolution note: .*$/s;

/** The words of an error; of a connection that could not be made, why. */
export function detailsOf({ details }: Pick<ServiceError, 'details'>): string {
  return NO_CONNECTION.exec(details)?.[1] ?? details;
}

/** How long the server asks to wait before the next try, in milliseconds; null where it doesn't say. */
export function retryAfterMsOf(error: ServiceError): number | null {
  const said = String(error.metadata?.get(RETRY_KEY)[0] ?? '');
  return /^\d{1,9}$/.test(said) ? Number(said) : null;
}
