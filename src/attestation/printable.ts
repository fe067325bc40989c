import { isUtf8 } from 'node:buffer';

/** The characters that selectors refuse (identity/selector.ts), and the backslash that stands for them here. */
const ESCAPED = /[\\\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/**
 * Text of bytes that a caller may have chosen: the bytes themselves where they are printable UTF-8, else
 * `\u{hex}` for a character and, where they aren't UTF-8, `\x` and two hex digits for each byte above 0x7f.
 * Different bytes never give the same text.
 */
export function printable(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (isUtf8(bytes)) return buffer.toString('utf8').replace(ESCAPED, escaped);
  return [...bytes]
    .map((byte) =>
      byte > 0x7f ? `\\x${byte.toString(16)}` : String.fromCharCode(byte).replace(ESCAPED, escaped),
    )
    .join('');
}

function escaped(character: string): string {
  return `\\u{${character.codePointAt(0)?.toString(16)}}`;
}
