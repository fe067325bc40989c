import { CarnetError } from '../errors.ts';
import { contextConstructed, TAG } from './der-tag.ts';
import { withoutLeadingZeros } from './serial.ts';

/** One DER element: the tag, the length of all `parts` together in its shortest form, and the parts. */
export function element(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const lengthOctets = length < 0x80 ? 1 : length < 0x100 ? 2 : length < 0x10000 ? 3 : 4;
  const bytes = new Uint8Array(1 + lengthOctets + length);
  bytes[0] = tag;
  bytes[1] = lengthOctets === 1 ? length : 0x7f + lengthOctets;
  for (let i = lengthOctets, rest = length; i > 1; i--, rest >>>= 8) bytes[i] = rest;
  let at = 1 + lengthOctets;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

export function sequence(...parts: readonly Uint8Array[]): Uint8Array {
  return element(TAG.sequence, ...parts);
}

/** `[number] EXPLICIT`. */
export function explicit(number: number, ...parts: readonly Uint8Array[]): Uint8Array {
  return element(contextConstructed(number), ...parts);
}

export function octetString(...parts: readonly Uint8Array[]): Uint8Array {
  return element(TAG.octetString, ...parts);
}

/** A BIT STRING of whole octets. */
export function bitString(octets: Uint8Array): Uint8Array {
  return element(TAG.bitString, NO_UNUSED_BITS, octets);
}

/** A BIT STRING that is a list of named bits: bit 0 of the number is bit 0 of the ASN.1 (X.690 §11.2.2). */
export function namedBits(bits: number): Uint8Array {
  if (bits === 0) return element(TAG.bitString, NO_UNUSED_BITS);
  const highest = 31 - Math.clz32(bits);
  const contents = new Uint8Array(2 + (highest >> 3));
  contents[0] = 7 - (highest & 7);
  for (let i = 0; i <= highest; i++)
    if ((bits >>> i) & 1) contents[1 + (i >> 3)] = (contents[1 + (i >> 3)] ?? 0) | (0x80 >> (i & 7));
  return element(TAG.bitString, contents);
}

/** A non-negative INTEGER from its big-endian magnitude, which may have leading zeros. */
export function unsignedInteger(magnitude: Uint8Array): Uint8Array {
  const digits = withoutLeadingZeros(magnitude);
  return (digits[0] ?? 0x80) >= 0x80 ? element(TAG.integer, ZERO, digits) : element(TAG.integer, digits);
}

export const TRUE: Uint8Array = Uint8Array.of(TAG.boolean, 1, 0xff);
export const NULL: Uint8Array = Uint8Array.of(TAG.null, 0);

const NO_UNUSED_BITS = Uint8Array.of(0);
const ZERO = Uint8Array.of(0);

/** An OBJECT IDENTIFIER from dotted decimal. Throws `invalid_argument`. */
export function objectIdentifier(dotted: string): Uint8Array {
  if (!/^[0-2](\.(0|[1-9]\d{0,14})){2,}$/.test(dotted))
    throw new CarnetError('invalid_argument', `${JSON.stringify(dotted)} is not an object identifier`);
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  return element(TAG.objectIdentifier, Uint8Array.from([first * 40 + second, ...rest].flatMap(base128)));
}

/** Text of ASCII characters only, under a string type's tag. The caller has checked the alphabet. */
export function asciiString(tag: number, text: string): Uint8Array {
  return element(tag, Buffer.from(text, 'latin1'));
}

function base128(arc: number): number[] {
  const octets = [arc % 128];
  for (let rest = Math.floor(arc / 128); rest > 0; rest = Math.floor(rest / 128))
    octets.unshift((rest % 128) | 0x80);
  return octets;
}
