const FIRST_MS = 500;
const LONGEST_MS = 60_000;
/** A receiver that asks for more than this is not obeyed. */
const LONGEST_ASKED_MS = 300_000;

/**
 * How long to wait after the `failures`-th failure in a row (1 for the first), in milliseconds: between a half of a
 * bound that doubles and the whole of it; and no less than the receiver asked for. `random` is in [0, 1).
 */
export function pauseMs(failures: number, askedMs: number | null, random: number): number {
  const bound = Math.min(LONGEST_MS, FIRST_MS * 2 ** Math.min(failures - 1, 20));
  return Math.max(Math.min(askedMs ?? 0, LONGEST_ASKED_MS), bound / 2) + (random * bound) / 2;
}

/** Retry-After (RFC 9110 §10.2.3), a number of seconds or a date, in milliseconds from `now`; null for neither. */
export function retryAfterMs(value: string | undefined, now: number): number | null {
  if (value === undefined) return null;
  const ms = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now;
  return Number.isNaN(ms) ? null : Math.max(0, ms);
}
