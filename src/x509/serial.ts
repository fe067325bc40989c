import { toHex } from './bytes.ts';

/** 128 random bits: twice what CAs must have (RFC 5280 §4.1.2.2 allows 160). */
export const SERIAL_BYTES = 16;

/** A serial as it is recorded and shown: 32 digits of lower-case hex, from its big-endian octets of any length. */
export function serialHex(octets: Uint8Array): string {
  return toHex(withoutLeadingZeros(octets)).padStart(2 * SERIAL_BYTES, '0');
}

/** A magnitude in its shortest form; empty for zero. */
export function withoutLeadingZeros(octets: Uint8Array): Uint8Array {
  let start = 0;
  while (start < octets.length && octets[start] === 0) start++;
  return octets.subarray(start);
}
