/** 2000-01-01, in microseconds since 1970. */
const POSTGRES_EPOCH_MICROS = 946_684_800_000_000n;
/** Of an array of one dimension. */
const ARRAY_HEADER_BYTES = 20;

/** timestamptz as PostgreSQL sends it, microseconds since 2000, at a place of `bytes`: in microseconds since 1970. */
export function decodeTimestamp(bytes: Buffer, at = 0): bigint {
  return bytes.readBigInt64BE(at) + POSTGRES_EPOCH_MICROS;
}

/** text[]: dimensions, a flag, the elements' type; then how many and from which index on, and each after its length. */
export function decodeTexts(array: Buffer): string[] {
  const texts: string[] = [];
  for (let at = ARRAY_HEADER_BYTES; at < array.length; ) {
    const end = at + 4 + array.readInt32BE(at);
    texts.push(array.toString('utf8', at + 4, end));
    at = end;
  }
  return texts;
}
