import { createHash } from 'node:crypto';
import { z } from 'zod';
import { equalBytes } from '../x509/bytes.ts';
import { jsonOf, textOf } from './column-values.ts';
import { decodeRecord, type EntryKind, encodeEntry } from './log/entry.ts';
import { type Hash, leafHashOf } from './log/merkle.ts';

/** What is recorded of the export of a partition, in `after` of the operator event `retention.export`. */
export const PartitionExport = z.strictObject({
  kind: z.enum(['issuance', 'operator_event']),
  /** Of the time of recording: `from` inclusive, `to` exclusive; RFC 3339. */
  from: z.iso.datetime(),
  to: z.iso.datetime(),
  rows: z.int(),
  /** Of the first and the last of them in the log; null for none. */
  first_index: z.int().nullable(),
  last_index: z.int().nullable(),
  /** SHA-256 over their leaf hashes, in the order of the log; hex. */
  leaves_sha256: z.string(),
  /** The file's name and SHA-256, hex. */
  file: z.string(),
  sha256: z.string(),
});
export type PartitionExport = z.output<typeof PartitionExport>;

/** The entries of the log that a partition's rows are. */
export interface RetiredSpan {
  readonly kind: EntryKind;
  readonly fromMicros: bigint;
  readonly toMicros: bigint;
  readonly firstIndex: number;
  readonly lastIndex: number;
}

/** A partition that is out of history, by an export on record. */
export interface Retired extends RetiredSpan {
  readonly partition: string;
  readonly rows: number;
}

/** The event of an export: where it is in the log, its leaf hash there, and its record. */
export interface ExportEvent {
  readonly index: number;
  readonly leafHash: Hash;
  readonly record: Uint8Array;
}

/** Where the evidence of exports is. */
export interface RetiredSource {
  /** Every event of an export that is in the log, and that an event of the partition's end followed. */
  exportEvents(): Promise<ExportEvent[]>;
  /** Whether history has a row of the kind that was recorded within. */
  hasRows(span: RetiredSpan): Promise<boolean>;
  /** Hands over the leaf hashes of the entries of a span, in order. */
  leaves(span: RetiredSpan, onLeaf: (leaf: Hash) => void): Promise<void>;
}

/** SHA-256 over leaf hashes in order: tells two sets of records apart. */
export class LeafDigest {
  readonly #hash = createHash('sha256');
  count = 0;

  add(leaf: Hash): void {
    this.#hash.update(leaf);
    this.count++;
  }

  hex(): string {
    return this.#hash.digest('hex');
  }
}

/**
 * The partitions whose rows may be missing: those of which nothing is left, and whose export is in the log as it was
 * recorded, behind the very entries that it says, to their number and their hashes. What else might be recorded as such an
 * export, such as of a day, or of what nobody took out, excuses no row that is missing.
 */
export async function readRetired(source: RetiredSource): Promise<Retired[]> {
  const retired: Retired[] = [];
  for (const { index, leafHash, record } of await source.exportEvents()) {
    if (!equalBytes(leafHashOf(encodeEntry('operator_event', record)), leafHash)) continue;
    const columns = decodeRecord('operator_event', record);
    const said = PartitionExport.safeParse(jsonOf(columns.get('after')));
    if (!said.success) continue;
    const span = spanOf(said.data);
    const partition = textOf(columns.get('subject')) ?? '';
    if (partition !== monthOf(said.data) || span === null || span.lastIndex >= index) continue;
    if (await source.hasRows(span)) continue;
    const digest = new LeafDigest();
    await source.leaves(span, (leaf) => digest.add(leaf));
    if (digest.count !== said.data.rows || digest.hex() !== said.data.leaves_sha256) continue;
    retired.push({ ...span, partition, rows: said.data.rows });
  }
  return retired;
}

/** The name of the partition of just this span (migration 0001), a month of UTC; null for any other span. */
export function monthOf({ kind, from, to }: Pick<PartitionExport, 'kind' | 'from' | 'to'>): string | null {
  const start = new Date(from);
  const [year, month] = [start.getUTCFullYear(), start.getUTCMonth()];
  const isMonth = start.getTime() === Date.UTC(year, month) && Date.parse(to) === Date.UTC(year, month + 1);
  return isMonth ? `${kind}_${String(year).padStart(4, '0')}_${String(month + 1).padStart(2, '0')}` : null;
}

/** Null for a partition that had no rows. */
export function spanOf({ kind, from, to, first_index, last_index }: PartitionExport): RetiredSpan | null {
  if (first_index === null || last_index === null) return null;
  const micros = (time: string): bigint => BigInt(Date.parse(time)) * 1000n;
  return {
    kind,
    fromMicros: micros(from),
    toMicros: micros(to),
    firstIndex: first_index,
    lastIndex: last_index,
  };
}

/** Whether an entry's row is one of those that are out of history. */
export function isRetired(
  retired: readonly RetiredSpan[],
  entry: { readonly kind: EntryKind; readonly index: number; readonly recordedAtMicros: bigint },
): boolean {
  return retired.some(
    ({ kind, fromMicros, toMicros, firstIndex, lastIndex }) =>
      kind === entry.kind &&
      entry.recordedAtMicros >= fromMicros &&
      entry.recordedAtMicros < toMicros &&
      entry.index >= firstIndex &&
      entry.index <= lastIndex,
  );
}
