import { CarnetError } from '../errors.ts';

/** A place in the order of history, newest first: by time of recording, then by ID. */
export interface Position {
  /** Microseconds since the epoch. */
  readonly recordedAtMicros: bigint;
  readonly id: bigint;
}

/** Told by its first byte, should the order ever be another. */
const FORMAT = 1;
const BYTES = 17;
/** The end of the year 9999. */
const MAX_MICROS = 253_402_300_800_000_000n;

/** The position of a page's last item, as an opaque text that is safe in a URL. */
export function encodeCursor({ recordedAtMicros, id }: Position): string {
  const bytes = Buffer.alloc(BYTES);
  bytes.writeUInt8(FORMAT);
  bytes.writeBigInt64BE(recordedAtMicros, 1);
  bytes.writeBigInt64BE(id, 9);
  return bytes.toString('base64url');
}

/** Throws `cursor_invalid`. */
export function decodeCursor(text: string): Position {
  const bytes = Buffer.from(text, 'base64url');
  if (bytes.length !== BYTES || bytes[0] !== FORMAT || bytes.toString('base64url') !== text) throw invalid();
  const position = { recordedAtMicros: bytes.readBigInt64BE(1), id: bytes.readBigInt64BE(9) };
  if (position.id < 0n || position.recordedAtMicros < 0n || position.recordedAtMicros >= MAX_MICROS)
    throw invalid();
  return position;
}

/** ISO 8601 with all six digits of the microseconds: a Date has three. */
export function timestampOf(micros: bigint): string {
  const millis = new Date(Number(micros / 1000n)).toISOString().slice(0, -1);
  return `${millis}${String(micros % 1000n).padStart(3, '0')}Z`;
}

function invalid(): CarnetError {
  return new CarnetError('cursor_invalid', 'the cursor is not one of ours: begin again without one');
}
