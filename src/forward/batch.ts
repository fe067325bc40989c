import { encodeLogRecord, type LogRecord } from '../audit/log-record.ts';

/** Entries of the log that go together, in its order and without a gap. */
export interface Batch {
  /** Leaf index of the first. */
  readonly first: number;
  /** Leaf index behind the last. */
  readonly end: number;
  readonly items: readonly { readonly record: LogRecord; readonly line: string }[];
}

/** What is sent at once: memory here, and what a receiver must take in one piece. */
export const MAX_BATCH_ENTRIES = 1000;
const MAX_BATCH_BYTES = 1024 * 1024;

/** As many of the records, one at least, as fit into so many bytes of lines. */
export function cutBatch(records: readonly [LogRecord, ...LogRecord[]], maxBytes = MAX_BATCH_BYTES): Batch {
  const items: { record: LogRecord; line: string }[] = [];
  let bytes = 0;
  for (const record of records) {
    const line = encodeLogRecord(record);
    bytes += line.length + 1;
    if (items.length > 0 && bytes > maxBytes) break;
    items.push({ record, line });
  }
  const first = records[0].leafIndex;
  return { first, end: first + items.length, items };
}
