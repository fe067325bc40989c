import type { EntryKind } from './log/entry.ts';
import type { CompleteNode } from './log/frontier.ts';
import type { Hash } from './log/merkle.ts';
import type { ReadNodes } from './log/subtree.ts';
import type { SignedTree } from './log-store.ts';
import type { RetiredSource } from './retired.ts';

/** A row, by its place in the order of the log: (transaction, kind, ID). */
export interface Place {
  readonly kind: EntryKind;
  readonly xact: bigint;
  readonly id: bigint;
}

/** A row of `log_entry`: what the log says that a row is. */
export interface LoggedEntry extends Place {
  readonly index: number;
  /** Since the epoch. */
  readonly recordedAtMicros: bigint;
  readonly leafHash: Hash;
}

/** Rows of one kind, behind one place in the log's order and up to another. */
export interface RowRange {
  readonly kind: EntryKind;
  /** Null for the first. */
  readonly after: Place | null;
  readonly to: Place;
  readonly limit: number;
}

/** The database as it is, read by one who does not trust it. */
export interface LogSource extends RetiredSource {
  /** Throws `internal` where the log does not have them all. */
  readonly readNodes: ReadNodes;
  /** The latest checkpoint; null before the first. */
  head(): Promise<SignedTree | null>;
  /** Those of more than `from` and at most `to` entries, smallest first. */
  checkpoints(from: number, to: number): Promise<SignedTree[]>;
  /** Entries `start` to `end`, without `end`, by index, as far as there are any. */
  entries(start: number, end: number): Promise<LoggedEntry[]>;
  /** The index of an entry that is none of the first `size`, a negative one before the highest; null for none. */
  entryBeyond(size: number): Promise<number | null>;
  /** Hands over each row as a record (audit/log/entry.ts), in order; its bytes are gone when `onRecord` returns. */
  records(range: RowRange, onRecord: (record: Buffer) => void): Promise<void>;
  /** What is stored for each of these nodes; null for nothing. */
  nodes(nodes: readonly CompleteNode[]): Promise<(Hash | null)[]>;
  /** A row of no transaction, or of one that has not begun yet, in words; null for none. */
  findForged(): Promise<string | null>;
  /**
   * What of the registration entries does not fit what the log has of them, in words; null for nothing. Their versions are
   * held against the operator events from a time on.
   */
  findFalseRule(fromMicros: bigint): Promise<string | null>;
  /** A row, in words by which a person finds it again; what an entry has of it where it is gone. */
  describe(row: Place & { readonly recordedAtMicros: bigint }): Promise<string>;
}
