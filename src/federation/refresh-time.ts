/** Where a publisher gives no hint (SPIFFE Federation §4.1). */
const DEFAULT_SECONDS = 300;
/** Ours. A publisher can ask neither for a flood nor for trust that is never looked at again. */
const MIN_SECONDS = 5;
const MAX_SECONDS = 3600;
/** A failure makes the next try later than usual only up to this. */
const MAX_RETRY_SECONDS = 300;
/**
 * Publishers are to announce keys three to five hints ahead (§4.1): so our own new root waits for so many, and what has
 * not been looked at for longer is stale.
 */
export const HELD_REFRESHES = 3;

/** Seconds from one look at an endpoint to the next, by what it asked for. */
export function refreshInterval(hintSeconds: number | null): number {
  return Math.min(MAX_SECONDS, Math.max(MIN_SECONDS, hintSeconds ?? DEFAULT_SECONDS));
}

/** The next look after a success: somewhat sooner than asked for, so that many do not come together. */
export function afterSuccess(hintSeconds: number | null, random: number): number {
  return refreshInterval(hintSeconds) * (0.8 + 0.2 * random);
}

/** The next try after `failures` in a row: never sooner than usual (§6.2), and backing off where that is often. */
export function afterFailure(hintSeconds: number | null, failures: number, random: number): number {
  const interval = refreshInterval(hintSeconds);
  const backedOff = Math.min(MAX_RETRY_SECONDS, interval * 2 ** Math.min(failures - 1, 16));
  return Math.max(interval, backedOff) * (0.8 + 0.4 * random);
}

/** Whether what is known of an endpoint's bundle is older than its publisher counts on. Milliseconds since the epoch. */
export function isStale(now: number, checkedAt: number, hintSeconds: number | null): boolean {
  return now - checkedAt > refreshInterval(hintSeconds) * HELD_REFRESHES * 1000;
}
