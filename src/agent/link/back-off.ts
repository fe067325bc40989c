import type { ServiceError } from '@grpc/grpc-js';
import { retryAfterMsOf } from '../../grpc/error-code.ts';

/** Between the first failure and the second try at the most. */
const FIRST_MS = 250;
/** A server that asks for more than this is not obeyed. */
const LONGEST_ASKED_MS = 120_000;
/** A server that comes back finds its agents spread over this. */
const LONGEST_MS = 30_000;
/** Tries that fit in what is left of the first certificate that ends, */
const TRIES_IN_REST = 10;
/** but for this long even its agent may wait: with it there may be a thousand others. */
const SHORTEST_BOUND_MS = 2_000;

/**
 * How long to wait after the `failures`-th failure in a row (1 for the first), in milliseconds: anything up to a bound
 * that doubles ("full jitter"), so that agents that lost their server together do not come back together. `restMs` is
 * what is left of the certificate that ends first: the less, the sooner; for one that has ended, or none, nothing is to
 * be saved by haste. `random` is in [0, 1).
 */
export function backOffMs(failures: number, restMs: number | null, random: number): number {
  const longest =
    restMs === null || restMs <= 0
      ? LONGEST_MS
      : Math.min(LONGEST_MS, Math.max(SHORTEST_BOUND_MS, restMs / TRIES_IN_REST));
  return random * Math.min(longest, FIRST_MS * 2 ** Math.min(failures - 1, 20));
}

/** How long a server that refused asks to wait, spread by a quarter so that not all come at once; 0 where none asks. */
export function askedMs(error: unknown, random: number): number {
  const { cause } = error as { cause?: unknown };
  const asked = cause instanceof Error && 'metadata' in cause ? retryAfterMsOf(cause as ServiceError) : null;
  return Math.min(LONGEST_ASKED_MS, asked ?? 0) * (1 + random / 4);
}
