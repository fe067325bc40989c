import { CarnetError } from '../../errors.ts';

/** What the length before an entry can say. */
export const MAX_ENTRY_BYTES = 0xffff;

/** Entries one after the other, each after its length as a big-endian uint16 (C2SP tlog-tiles, "Log entries"). */
export function encodeEntryBundle(entries: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(
    entries.flatMap((entry) => {
      if (entry.length > MAX_ENTRY_BYTES)
        throw new CarnetError('too_large', `a log entry has ${entry.length} bytes, ${MAX_ENTRY_BYTES} fit`);
      const length = Buffer.alloc(2);
      length.writeUInt16BE(entry.length);
      return [length, entry];
    }),
  );
}
