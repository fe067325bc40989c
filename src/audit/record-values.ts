import { timestampOf } from './cursor.ts';

/** What a record has of a column, as PostgreSQL sends it in binary; null for none. */
export type ColumnValue = Uint8Array | null | undefined;

/** 2000-01-01, from which PostgreSQL counts, in microseconds since 1970. */
const EPOCH_MICROS = 946_684_800_000_000n;
/** Of an array of one dimension. */
const ARRAY_HEADER_BYTES = 20;

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
  return value == null ? null : timestampOf(microsOf(value));
}

/** A timestamptz, as RFC 3339 in UTC to the millisecond. */
export function millisecondsOf(value: ColumnValue): string | null {
  return value == null ? null : new Date(Number(microsOf(value) / 1000n)).toISOString();
}

/** A text[] of one dimension. */
export function textsOf(value: ColumnValue): string[] {
  const array = bufferOf(value ?? Buffer.alloc(0));
  const texts: string[] = [];
  for (let at = ARRAY_HEADER_BYTES; at < array.length; ) {
    const end = at + 4 + array.readInt32BE(at);
    texts.push(array.toString('utf8', at + 4, end));
    at = end;
  }
  return texts;
}

export function jsonOf(value: ColumnValue): unknown {
  return value == null ? null : JSON.parse(bufferOf(value).toString('utf8'));
}

function microsOf(value: Uint8Array): bigint {
  return bufferOf(value).readBigInt64BE() + EPOCH_MICROS;
}

function bufferOf(value: Uint8Array): Buffer {
  return Buffer.from(value.buffer, value.byteOffset, value.length);
}
