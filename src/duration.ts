import { CarnetError } from './errors.ts';

/** Seconds in each unit, longest first. A year is 365 days: a lifetime, not a date in a calendar. */
const UNITS = [
  ['y', 365 * 86_400],
  ['d', 86_400],
  ['h', 3600],
  ['m', 60],
  ['s', 1],
] as const;

const DURATION = /^(\d{1,10})([smhdy])$/;
/** A century: longer than anything we time, and far inside of what a date can hold. */
const MAX_SECONDS = 100 * 365 * 86_400;

/**
 * Parses one whole number and one unit, `90s`, `15m`, `1h`, `30d` or `1y` (365 days), to seconds; at most
 * 100 years. Throws `invalid_argument`.
 */
export function parseDuration(text: string): number {
  const [, digits = '', unit = ''] = DURATION.exec(text) ?? [];
  const unitSeconds = UNITS.find(([name]) => name === unit)?.[1];
  if (unitSeconds === undefined)
    throw new CarnetError(
      'invalid_argument',
      `${JSON.stringify(text.slice(0, 40))} is not a duration: write a whole number and a unit, for example 90s, 15m, 1h, 30d or 1y`,
    );
  const seconds = Number(digits) * unitSeconds;
  if (seconds > MAX_SECONDS)
    throw new CarnetError('invalid_argument', `${text} is too long a duration: at most 100y`);
  return seconds;
}

/** Writes whole seconds as {@link parseDuration} reads them, in the longest unit that divides them. */
export function formatDuration(seconds: number): string {
  if (seconds === 0) return '0s';
  for (const [unit, unitSeconds] of UNITS)
    if (seconds % unitSeconds === 0) return `${seconds / unitSeconds}${unit}`;
  throw new RangeError(`a duration is a whole number of seconds, not ${seconds}`);
}
