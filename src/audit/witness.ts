import type { WitnessFault } from './log/add-checkpoint.ts';
import type { WitnessKey } from './log/cosignature.ts';
import type { ReadNodes } from './log/subtree.ts';
import type { SignedTree } from './log-store.ts';

/** One who cosigns what it finds to be one log that only grows. */
export interface Witness {
  /** `<name>+<key ID>`, which it is known by in the database, in metrics and to operators. */
  readonly id: string;
  readonly key: WitnessKey;
  /** Its submission prefix (C2SP tlog-witness), without a slash at its end. */
  readonly url: string;
}

/** Whose cosignatures are served, and how many the checkpoint that is published must have. */
export interface Witnessing {
  readonly witnesses: readonly Witness[];
  /** 0: the latest checkpoint is published at once, with what cosignatures it has. */
  readonly quorum: number;
}

/** Why a witness does not cosign. */
export interface WitnessProblem {
  readonly code: WitnessFault;
  readonly reason: string;
}

/** What is known of a witness. */
export interface WitnessState extends Witness {
  /** Of the latest checkpoint that it cosigned; 0 before the first. */
  readonly size: number;
  readonly cosignedAt: Date | null;
  /** Since when a later checkpoint waits for its cosignature; null for none. */
  readonly behindSince: Date | null;
  readonly problem: (WitnessProblem & { readonly since: Date }) | null;
}

/** Where cosignatures are kept. */
export interface WitnessStore {
  readonly readNodes: ReadNodes;
  /** The latest checkpoint; null before the first. */
  head(): Promise<SignedTree | null>;
  witnesses(): Promise<WitnessState[]>;
  /** `line` is a signature line with its newline. One that is there already stays. */
  insertCosignature(witness: Witness, size: number, line: string): Promise<void>;
  /** Null once it cosigns again. */
  setProblem(witness: Witness, problem: WitnessProblem | null): Promise<void>;
}
