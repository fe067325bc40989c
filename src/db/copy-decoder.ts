import { CarnetError } from '../errors.ts';

/** How a file in COPY's binary format begins (PostgreSQL, COPY, "Binary Format"). */
const SIGNATURE = Buffer.from('PGCOPY\n\xff\r\n\0', 'latin1');
/** The signature, flags, and the length of an extension, which no version has. */
const HEADER_BYTES = SIGNATURE.length + 8;
const TRAILER = -1;

/** Reads COPY's binary format, in which a message of the server has one whole row ("Message Flow"). */
export class CopyDecoder {
  #begun = false;

  /** Hands over each row of a message: each field's bytes within it, null for NULL. Throws `internal`. */
  decode(message: Buffer, onRow: (fields: (Buffer | null)[]) => void): void {
    let at = this.#begun ? 0 : skipHeader(message);
    this.#begun = true;
    while (at < message.length) {
      const count = message.readInt16BE(at);
      at += 2;
      if (count === TRAILER) return;
      const fields: (Buffer | null)[] = [];
      for (let i = 0; i < count; i++) {
        const length = message.readInt32BE(at);
        const end = at + 4 + Math.max(0, length);
        if (end > message.length) throw malformed();
        fields.push(length < 0 ? null : message.subarray(at + 4, end));
        at = end;
      }
      onRow(fields);
    }
  }
}

function skipHeader(message: Buffer): number {
  if (!message.subarray(0, SIGNATURE.length).equals(SIGNATURE)) throw malformed();
  return HEADER_BYTES;
}

function malformed(): CarnetError {
  return new CarnetError('internal', "the database's copy is not in COPY's binary format");
}
