import { parseDuration } from '../duration.ts';
import { CarnetError } from '../errors.ts';

const DATE = /^\d{4}-\d{2}-\d{2}$/;
const DURATION = /^\d+[smhdy]$/;

/**
 * A point in time as a person gives it, in RFC 3339: a time as it is, a date as its first moment in UTC, and a
 * duration as that long ago. Throws `config_invalid`.
 */
export function parseWhen(flag: string, text: string, now: number): string {
  if (DURATION.test(text)) return new Date(now - parseDuration(text) * 1000).toISOString();
  const time = DATE.test(text) ? `${text}T00:00:00Z` : text;
  if (!/[Zz]$|[+-]\d{2}:\d{2}$/.test(time) || Number.isNaN(Date.parse(time)))
    throw new CarnetError(
      'config_invalid',
      `${flag} ${text}: give a date (2026-03-01), a time with its zone (2026-03-01T12:00:00Z) or how long ago (24h)`,
    );
  return time;
}

/** `2026-03-10 12:00:00Z`: to the second, in UTC. */
export function shortTime(rfc3339: string): string {
  return `${rfc3339.slice(0, 19).replace('T', ' ')}Z`;
}

/** `in 42m`, `3d ago`, `now`: in the largest unit that leaves at least two of it, for a glance. */
export function relativeTime(rfc3339: string, now: number): string {
  const seconds = Math.round((Date.parse(rfc3339) - now) / 1000);
  if (seconds === 0) return 'now';
  return seconds > 0 ? `in ${roughDuration(seconds)}` : `${roughDuration(-seconds)} ago`;
}

function roughDuration(seconds: number): string {
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 2 * 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 2 * 86_400) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}
