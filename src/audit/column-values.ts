import { timestampOf } from './cursor.ts';
import { decodeTexts, decodeTimestamp } from './log/record-values.ts';

/** What a record has of a column, as PostgreSQL sends it in binary; null for none. */
export type ColumnValue = Uint8Array | null | undefined;

export function textOf(value: ColumnValue): string | null {
  return value == null ? null : bufferOf(value).toString('utf8');
}

export function hexOf(value: ColumnValue): string | null {
  return value == null ? null : bufferOf(value).toString('hex');
}

/** An integer of 4 or 8 bytes. */
export function integerOf(value: ColumnValue): number | null {
  if (value == null) return null;
  const bytes = bufferOf(value);
  return bytes.length === 8 ? Number(bytes.readBigInt64BE()) : bytes.readInt32BE();
}

/** A timestamptz, as RFC 3339 in UTC to the microsecond. */
export function microsecondsOf(value: ColumnValue): string | null {
  return value == null ? null : timestampOf(decodeTimestamp(bufferOf(value)));
}

/** A timestamptz, as RFC 3339 in UTC to the millisecond. */
export function millisecondsOf(value: ColumnValue): string | null {
  return value == null ? null : new Date(Number(decodeTimestamp(bufferOf(value)) / 1000n)).toISOString();
}

export function textsOf(value: ColumnValue): string[] {
  return value == null ? [] : decodeTexts(bufferOf(value));
}

export function jsonOf(value: ColumnValue): unknown {
  return value == null ? null : JSON.parse(bufferOf(value).toString('utf8'));
}

function bufferOf(value: Uint8Array): Buffer {
  return Buffer.from(value.buffer, value.byteOffset, value.length);
}
