/** 2000-01-01, which PostgreSQL's timestamps count from, in microseconds since the Unix epoch. */
const POSTGRES_EPOCH_MICROS = 946_684_800_000_000n;
const TEXT_OID = 25;
/** The file's signature, its flags, and the length of its header extension (PostgreSQL, COPY, "Binary Format"). */
const HEADER = Buffer.concat([Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1'), Buffer.alloc(8)]);
/** CopyData: its type, and its length, which counts itself ("Message Formats"). */
const COPY_DATA = 0x64;
const MESSAGE_HEADER_BYTES = 5;
const NULL_LENGTH = -1;

/** Writes rows in COPY's binary format, as one CopyData message. */
export class CopyEncoder {
  #bytes: Buffer;
  #end: number;

  /** `sizeBytes` is an estimate; a good one spares copying. */
  constructor(sizeBytes: number) {
    this.#bytes = Buffer.allocUnsafe(MESSAGE_HEADER_BYTES + HEADER.length + sizeBytes);
    this.#bytes[0] = COPY_DATA;
    this.#bytes.set(HEADER, MESSAGE_HEADER_BYTES);
    this.#end = MESSAGE_HEADER_BYTES + HEADER.length;
  }

  /** Begins a row; its fields follow in the order of the statement's columns. */
  row(fields: number): void {
    this.#reserve(2);
    this.#end = this.#bytes.writeInt16BE(fields, this.#end);
  }

  text(value: string | null): void {
    if (value === null) this.#int32(NULL_LENGTH);
    else {
      // UTF-8 takes at most three bytes for each unit of UTF-16.
      this.#reserve(4 + value.length * 3);
      const length = this.#bytes.write(value, this.#end + 4);
      this.#bytes.writeInt32BE(length, this.#end);
      this.#end += 4 + length;
    }
  }

  bytes(value: Uint8Array): void {
    this.#reserve(4 + value.length);
    this.#bytes.writeInt32BE(value.length, this.#end);
    this.#bytes.set(value, this.#end + 4);
    this.#end += 4 + value.length;
  }

  integer(value: number | null): void {
    if (value === null) this.#int32(NULL_LENGTH);
    else {
      this.#int32(4);
      this.#int32(value);
    }
  }

  /** timestamptz: microseconds since 2000-01-01. */
  timestamp(value: Date): void {
    const micros = BigInt(value.getTime()) * 1000n - POSTGRES_EPOCH_MICROS;
    this.#int32(8);
    this.#reserve(8);
    this.#end = this.#bytes.writeBigInt64BE(micros, this.#end);
  }

  /** text[]: dimensions, whether it has nulls, the elements' type; then length and lower bound, and the elements. */
  textArray(values: readonly string[]): void {
    this.#int32(0);
    const start = this.#end;
    this.#int32(values.length === 0 ? 0 : 1);
    this.#int32(0);
    this.#int32(TEXT_OID);
    if (values.length > 0) {
      this.#int32(values.length);
      this.#int32(1);
    }
    for (const value of values) this.text(value);
    this.#bytes.writeInt32BE(this.#end - start, start - 4);
  }

  /** Ends the file and returns the message. The encoder is used up. */
  finish(): Buffer {
    this.#reserve(2);
    this.#end = this.#bytes.writeInt16BE(-1, this.#end);
    this.#bytes.writeInt32BE(this.#end - 1, 1);
    return this.#bytes.subarray(0, this.#end);
  }

  #int32(value: number): void {
    this.#reserve(4);
    this.#end = this.#bytes.writeInt32BE(value, this.#end);
  }

  #reserve(bytes: number): void {
    if (this.#bytes.length - this.#end >= bytes) return;
    const larger = Buffer.allocUnsafe(this.#bytes.length * 2 + bytes);
    larger.set(this.#bytes.subarray(0, this.#end));
    this.#bytes = larger;
  }
}
