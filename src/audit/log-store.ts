import type { StoredKey } from '../ca/key-store.ts';
import type { CompleteNode } from './log/frontier.ts';
import type { Hash } from './log/merkle.ts';
import type { Tree } from './log/proof.ts';
import type { ReadNodes } from './log/subtree.ts';
import type { WitnessState } from './witness.ts';

/** The key that signs checkpoints, as it is stored. */
export interface StoredLogKey extends StoredKey {
  /** The log's name. */
  readonly origin: string;
}

/** A tree, and the signed note that says so. */
export interface SignedTree extends Tree {
  readonly note: string;
}

/** One turn of the only one who may add to the log. */
export interface LogTransaction {
  readonly readNodes: ReadNodes;
  key(): Promise<StoredLogKey | null>;
  insertKey(key: StoredLogKey): Promise<void>;
  /** The latest checkpoint; null before the first. */
  head(): Promise<SignedTree | null>;
  /**
   * Makes entries of at most `limit` rows that have none: those of transactions before the oldest that is under way,
   * in the order of transactions, behind the `size` that there are. Returns their leaf hashes in that order. Throws
   * `conflict` for a database whose transactions count from less than the log has seen.
   */
  append(size: number, limit: number): Promise<Hash[]>;
  insertNodes(nodes: readonly CompleteNode[]): Promise<void>;
  insertCheckpoint(checkpoint: SignedTree): Promise<void>;
}

/** Where the log is kept. */
export interface LogStore {
  /** All of `work` is committed, or nothing of it. Null while another has the turn, here or in another process. */
  sequence<T>(work: (tx: LogTransaction) => Promise<T>): Promise<T | null>;
}

/** Indexes of entries. */
export interface EvidencePlaces {
  readonly issuance: number;
  readonly rule: number | null;
  readonly revocation: number | null;
}

/** What the log shows. */
export interface LogReader {
  readonly readNodes: ReadNodes;
  /** The latest checkpoint, signed by the log alone. Null before the first. */
  head(): Promise<SignedTree | null>;
  /** How many witnesses are to cosign a checkpoint before it is published. */
  readonly quorum: number;
  /**
   * The checkpoint that is published, with its cosignatures behind the log's signature: the latest that the quorum
   * cosigned, or the latest at all while none is, or no quorum is asked for.
   */
  published(): Promise<SignedTree | null>;
  /** The latest that the quorum, or at least one witness, cosigned, with the cosignatures. Null for none. */
  witnessed(): Promise<SignedTree | null>;
  witnesses(): Promise<WitnessState[]>;
  /** Null before the log has begun. */
  key(): Promise<StoredLogKey | null>;
  /** The entries `start` to `end`, without `end`, as far as there are any. */
  entries(start: number, end: number): Promise<Uint8Array[]>;
  /** Where the issuance with a serial (32 digits of lower-case hex) is; null for one that is in no checkpoint yet. */
  findIssuance(serial: string): Promise<number | null>;
  /** The same, and where the operator event that wrote its entry's version is, and what revoked it; null for none. */
  findEvidence(serial: string): Promise<EvidencePlaces | null>;
  /** Since when the oldest row that is in no checkpoint waits for one; null for none. */
  waitingSince(): Promise<Date | null>;
}
