import { CarnetError } from '../errors.ts';
import { equalBytes } from '../x509/bytes.ts';
import { type LineForm, type LoggedRecord, lineWriter } from './export-line.ts';
import { ENTRY_KINDS, type EntryKind, encodeEntry } from './log/entry.ts';
import { leafHashOf } from './log/merkle.ts';
import type { LeafRange } from './log/subtree.ts';

/** What can be exported, by the name that it has outside. */
export const EXPORT_KINDS = {
  all: Object.keys(ENTRY_KINDS) as EntryKind[],
  issuances: ['issuance'],
  revocations: ['revocation'],
  'operator-events': ['operator_event'],
} as const satisfies Record<string, readonly EntryKind[]>;
export type ExportKind = keyof typeof EXPORT_KINDS;

/** Which records; all that is given must fit. What is only of issuances leaves only those. */
export interface ExportFilter {
  readonly kinds: readonly EntryKind[];
  /** Of the time of recording: `from` inclusive, `to` exclusive. */
  readonly from?: Date | undefined;
  readonly to?: Date | undefined;
  readonly identity?: string | undefined;
  readonly identityPrefix?: string | undefined;
  readonly instance?: string | undefined;
  readonly node?: string | undefined;
  readonly entry?: string | undefined;
  readonly authority?: string | undefined;
}

/** An entry of the log, and what it stands for. */
export interface ExportedRow extends Omit<LoggedRecord, 'record'> {
  /** Null where the row is gone. */
  readonly record: Uint8Array | null;
  /** It is gone with its partition, after an export on record. */
  readonly retired: boolean;
}

/** Where the records are. */
export interface ExportSource {
  /** The first `limit` of `range` that fit, in order, each read by itself: nothing is held between two calls. */
  rows(range: LeafRange, filter: ExportFilter, limit: number): Promise<ExportedRow[]>;
}

/** What was found up to an index. */
interface Chunk {
  readonly rows: readonly ExportedRow[];
  readonly next: number;
}

/** Held in memory twice, one being read while the other is written: some megabytes. */
const CHUNK_ROWS = 500;
/** As far as one look for rows that fit may go: some tenths of a second. */
const WINDOW = 20_000;

/**
 * The records that fit, as lines, a chunk of them at a time: those of the log's entries in `range`, in its order. The
 * same range of the same log gives the same bytes, but for records that are out of the database: they are left out. Nothing is held in the database while nobody takes the next chunk.
 * Throws `internal` for a record that is not what the log has of it, and what the source throws.
 */
export async function* exportText(
  source: ExportSource,
  filter: ExportFilter,
  form: LineForm,
  range: LeafRange,
): AsyncGenerator<string> {
  const writer = lineWriter(filter.kinds, form);
  if (range.start === 0 && writer.header !== '') yield writer.header;
  for await (const { rows } of chunksOf(source, filter, range)) {
    const lines = rows.filter(({ retired }) => !retired).map((row) => writer.line(checked(row)));
    if (lines.length > 0) yield lines.join('');
  }
}

async function* chunksOf(source: ExportSource, filter: ExportFilter, { start, end }: LeafRange) {
  const read = async (from: number): Promise<Chunk> => {
    const to = Math.min(end, from + WINDOW);
    const rows = await source.rows({ start: from, end: to }, filter, CHUNK_ROWS);
    const last = rows.at(-1);
    return { rows, next: rows.length === CHUNK_ROWS && last !== undefined ? last.index + 1 : to };
  };
  let reading = start < end ? read(start) : null;
  while (reading !== null) {
    const chunk: Chunk = await reading;
    reading = chunk.next < end ? read(chunk.next) : null;
    // A failure counts when it is its turn.
    reading?.catch(() => undefined);
    yield chunk;
  }
}

function checked({ index, kind, leafHash: logged, record }: ExportedRow): LoggedRecord {
  if (record === null || !equalBytes(leafHashOf(encodeEntry(kind, record)), logged))
    throw new CarnetError(
      'internal',
      `the ${kind} of log entry ${index} is not what was logged: run carnet audit verify`,
    );
  return { index, kind, record, leafHash: logged };
}
