/** Between the first failure and the second try at the most. */
const FIRST_MS = 250;
/** A server that comes back finds its agents spread over this. */
const LONGEST_MS = 30_000;

/**
 * How long to wait after the `failures`-th failure in a row (1 for the first), in milliseconds: anything up to a bound
 * that doubles ("full jitter"), so that agents that lost their server together do not come back together. `random`
 * is in [0, 1).
 */
export function backOffMs(failures: number, random: number): number {
  return random * Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(failures - 1, 20));
}
