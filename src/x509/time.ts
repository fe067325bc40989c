import { CarnetError } from '../errors.ts';
import type { DerReader } from './der-reader.ts';
import { TAG } from './der-tag.ts';
import { asciiString } from './der-writer.ts';

/** RFC 5280 §4.1.2.5: UTCTime through 2049, GeneralizedTime from then on. */
const FIRST_GENERALIZED_YEAR = 2050;
const FIRST_UTC_YEAR = 1950;

/**
 * A Time in DER: in UTC with seconds and Z (RFC 5280 §4.1.2.5). Fractions of a second are dropped.
 * `date` must lie in the years 1950 to 9999; else throws `invalid_argument`.
 */
export function encodeTime(date: Date): Uint8Array {
  const year = date.getUTCFullYear();
  if (!(year >= FIRST_UTC_YEAR && year <= 9999))
    throw new CarnetError('invalid_argument', `a certificate cannot name the year ${year}`);
  const rest = [
    date.getUTCMonth() + 1,
    date.getUTCDate(),
    date.getUTCHours(),
    date.getUTCMinutes(),
    date.getUTCSeconds(),
  ].reduce((text, number) => text + twoDigits(number), '');
  return year < FIRST_GENERALIZED_YEAR
    ? asciiString(TAG.utcTime, `${twoDigits(year % 100)}${rest}Z`)
    : asciiString(TAG.generalizedTime, `${year}${rest}Z`);
}

/** Reads a Time as RFC 5280 §4.1.2.5 has it: the right type for its year, seconds, Z. Throws `der_malformed`. */
export function readTime(reader: DerReader): Date {
  const utc = reader.nextIs(TAG.utcTime);
  const octets = reader.contents(utc ? TAG.utcTime : TAG.generalizedTime);
  const digits = decimals(octets, utc ? 12 : 14);
  const short = utc ? digits(0, 2) : digits(0, 4);
  const year = utc ? (short < 50 ? 2000 + short : 1900 + short) : short;
  const rest = utc ? 2 : 4;
  const fields = [digits(rest, 2), digits(rest + 2, 2), digits(rest + 4, 2), digits(rest + 6, 2)] as const;
  const [month, day, hour, minute] = fields;
  const second = digits(rest + 8, 2);
  const date = new Date(Date.UTC(year, month - 1, day, hour, minute, second));
  if (!utc && year < FIRST_GENERALIZED_YEAR)
    throw new CarnetError('der_malformed', `a Time has the year ${year} as GeneralizedTime`);
  // Date.UTC carries an overflow into the next field: 24:00 or 30 February come back as something else.
  if (
    date.getUTCMonth() !== month - 1 ||
    date.getUTCDate() !== day ||
    date.getUTCHours() !== hour ||
    date.getUTCMinutes() !== minute ||
    date.getUTCSeconds() !== second
  )
    throw new CarnetError('der_malformed', 'a Time that is on no calendar');
  return date;
}

/** A function from a place and a width to the number there, in octets that are `count` digits and a Z. */
function decimals(octets: Uint8Array, count: number): (at: number, width: number) => number {
  const wellFormed =
    octets.length === count + 1 &&
    octets[count] === 0x5a &&
    octets.every((octet, at) => at === count || (octet >= 0x30 && octet <= 0x39));
  if (!wellFormed) throw new CarnetError('der_malformed', `a Time that is not ${count} digits and a Z`);
  return (at, width) => {
    let number = 0;
    for (let i = at; i < at + width; i++) number = number * 10 + (octets[i] ?? 0) - 0x30;
    return number;
  };
}

function twoDigits(number: number): string {
  return number < 10 ? `0${number}` : `${number}`;
}
