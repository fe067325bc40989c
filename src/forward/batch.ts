import type { ExportedRow } from '../audit/export.ts';
import { lineWriter } from '../audit/export-line.ts';
import { ENTRY_KINDS, type EntryKind, encodeEntry } from '../audit/log/entry.ts';
import { leafHashOf } from '../audit/log/merkle.ts';
import { equalBytes, toHex } from '../x509/bytes.ts';

/** Entries of the log that go together, in its order and without a gap. */
export interface Batch {
  /** Leaf index of the first. */
  readonly first: number;
  /** Leaf index behind the last. */
  readonly end: number;
  /** JSON in ASCII, without its end of line; the same as in an export (audit/export-line.ts). */
  readonly lines: readonly string[];
}

/** What is sent at once: memory here, and what a receiver must take in one piece. */
export const MAX_BATCH_ENTRIES = 1000;
const MAX_BATCH_BYTES = 1024 * 1024;

/** As many of the rows, one at least, as fit into so many bytes of lines. Throws `invalid_argument` for a malformed one. */
export function cutBatch(rows: readonly [ExportedRow, ...ExportedRow[]], maxBytes = MAX_BATCH_BYTES): Batch {
  const lines: string[] = [];
  let bytes = 0;
  for (const row of rows) {
    const line = lineOf(row);
    bytes += line.length + 1;
    if (lines.length > 0 && bytes > maxBytes) break;
    lines.push(line);
  }
  const first = rows[0].index;
  return { first, end: first + lines.length, lines };
}

const KINDS = Object.keys(ENTRY_KINDS) as EntryKind[];
const WRITER = lineWriter(KINDS, { format: 'ndjson', full: false });

/** Of a row that is gone, or is not what was logged, the entry alone is told, and that: nothing is passed over. */
function lineOf({ record, retired, ...entry }: ExportedRow): string {
  const { index, kind, leafHash } = entry;
  if (record !== null && equalBytes(leafHashOf(encodeEntry(kind, record)), leafHash))
    return WRITER.line({ ...entry, record }).slice(0, -1);
  const state = record !== null ? 'altered' : retired ? 'retired' : 'missing';
  return JSON.stringify({ leaf_index: index, leaf_hash: toHex(leafHash), kind, [state]: true });
}
