/** The span of a leaf's life in which it is renewed: never later than half, so an outage of hours fits in the rest. */
const EARLIEST = 0.4;
const LATEST = 0.5;

const FIRST_RETRY_MS = 250;
const LONGEST_RETRY_MS = 30_000;
/** Tries that fit in what is left of a leaf's life at the least, however short it is. */
const TRIES_IN_REST = 10;
/** A workload without any certificate waits to start: it isn't kept waiting for longer than this. */
const LONGEST_FIRST_RETRY_MS = 5_000;

/**
 * When a leaf is renewed, spread evenly so that a fleet that started together doesn't renew together.
 * Times are milliseconds since the epoch; `random` is in [0, 1).
 */
export function renewalTime(issuedAt: number, notAfter: number, random: number): number {
  return issuedAt + (notAfter - issuedAt) * (EARLIEST + (LATEST - EARLIEST) * random);
}

/**
 * How long to wait after the `attempt`-th failure in a row (1 for the first), in milliseconds: doubling,
 * bounded, jittered. `restMs` is what is left of the certificate's life; null where there is none yet.
 */
export function retryDelay(attempt: number, restMs: number | null, random: number): number {
  const longest =
    restMs === null
      ? LONGEST_FIRST_RETRY_MS
      : Math.min(LONGEST_RETRY_MS, Math.max(FIRST_RETRY_MS, restMs / TRIES_IN_REST));
  const delay = Math.min(longest, FIRST_RETRY_MS * 2 ** Math.min(attempt - 1, 20));
  return delay * (0.5 + 0.5 * random);
}
