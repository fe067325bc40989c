import { z } from 'zod';
import { formatDuration, parseDuration } from '../duration.ts';
import { CarnetError } from '../errors.ts';

/** Names that we let an operator choose: they stand in logs, tables and URLs. */
const NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
/** Text is compared and stored as it is; a control character (Postgres takes no NUL) is never meant. */
const PRINTABLE = /^\P{Cc}{1,2048}$/u;
const SERIAL = /^(?:[0-9a-fA-F]{2}:?){0,20}[0-9a-fA-F]{1,2}$/;

const END_OF_9999 = Date.UTC(10_000, 0);

/** RFC 3339, UTC. */
export const Time = z.iso.datetime().meta({ description: 'RFC 3339, UTC', pattern: undefined });

export const Duration = z
  .string()
  .regex(/^\d{1,10}[smhdy]$/)
  .meta({ description: 'A whole number and a unit: `90s`, `15m`, `1h`, `30d`, `1y`', examples: ['1h'] });

export const Pem = z.string().meta({ description: 'PEM (RFC 7468)' });

/** Answered as bytes, which no JSON schema describes. */
export const Der = z.unknown().meta({ description: 'DER' });

export const Hex = z.string().regex(/^[0-9a-f]+$/);

/** What a caller may say where one of our own names is meant. */
export const NameInput = z
  .string()
  .regex(NAME, 'must be letters, digits, dots, dashes and underscores, at most 128')
  .meta({ examples: ['web'] });

export const TextInput = z
  .string()
  .regex(PRINTABLE, 'must be 1 to 2048 characters, none of them a control character');

/**
 * A serial as people copy it: with or without colons, in either case, and as OpenSSL prints it, without leading
 * zero bytes. Parsed to the form on record, lower-case hex of 32 digits.
 */
export const SerialInput = z
  .string()
  .max(62)
  .regex(SERIAL, 'must be the hex digits of a serial number')
  .transform((text) => text.replaceAll(':', '').toLowerCase().replace(/^0+/, '').padStart(32, '0'))
  .meta({ examples: ['3f1c0a5d9e8b47261504a3f2e1d0c9b8'] });

/** A SHA-256 as people copy it: with or without colons, in either case. Parsed to lower-case hex of 64 digits. */
export const Sha256Input = z
  .string()
  .regex(/^[0-9a-fA-F]{2}(?::?[0-9a-fA-F]{2}){31}$/, 'must be the 64 hex digits of a SHA-256')
  .transform((text) => text.replaceAll(':', '').toLowerCase())
  .meta({ examples: ['353c02c8dab5d7384a02da148c668453caa3d2b7df23e7e276ab346c4c3891d9'] });

/** RFC 3339 with any offset. Parsed to a Date; years outside of 1970 to 9999 mean a mistake. */
export const TimeInput = z.iso
  .datetime({ offset: true, error: 'must be an RFC 3339 time, for example 2026-03-01T00:00:00Z' })
  .transform((text) => new Date(text))
  .refine((time) => time.getTime() >= 0, 'must not be before 1970')
  // By its offset it can be a day later than it says, and no RFC 3339 time any more.
  .refine((time) => time.getTime() < END_OF_9999, 'must not be after 9999')
  .meta({ examples: ['2026-03-01T00:00:00Z'], pattern: undefined });

/** A duration from outside, in seconds, or its error as validation knows it. */
export const DurationInput = z
  .string()
  .transform((text, ctx) => {
    try {
      return parseDuration(text);
    } catch (error) {
      if (!(error instanceof CarnetError)) throw error;
      ctx.addIssue({ code: 'custom', message: 'must be a duration such as 90s, 15m, 1h, 30d or 1y' });
      return z.NEVER;
    }
  })
  .meta({ examples: ['30d'] });

export function timeText(date: Date): string {
  return date.toISOString();
}

export function durationText(seconds: number | null): string | null {
  return seconds === null ? null : formatDuration(seconds);
}
