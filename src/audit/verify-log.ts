import { CarnetError, errorCodeOf } from '../errors.ts';
import { equalBytes } from '../x509/bytes.ts';
import { type Checkpoint, openCheckpoint } from './log/checkpoint.ts';
import { type CompleteNode, Frontier } from './log/frontier.ts';
import type { NoteKey } from './log/note.ts';
import { checkConsistency, proveConsistency, type Tree } from './log/proof.ts';
import type { LogSource, Place } from './log-source.ts';
import type { SignedTree } from './log-store.ts';
import { type Retired, readRetired } from './retired.ts';
import { type Chunk, chunksOf, isBehind } from './verify-chunk.ts';

/** What an earlier run showed. */
export interface VerifiedBefore {
  /** The log's first entries, by a checkpoint of its key. */
  readonly tree: Tree;
  /** Of the last of them. */
  readonly last: Place;
}

export interface VerifyOptions {
  readonly source: LogSource;
  /** Whose checkpoints they must be. */
  readonly key: NoteKey;
  /** Checkpoints that were kept outside of the database, as signed notes. */
  readonly kept: readonly string[];
  /** Only what came since; null for all. */
  readonly since: VerifiedBefore | null;
  /** Called now and then, with how many entries of the log's `size` are behind. */
  readonly onProgress: (done: number, size: number) => void;
}

export interface Verified {
  readonly head: SignedTree | null;
  /** Where its last entry is; null for none. */
  readonly last: Place | null;
  /** How many of its checkpoints were verified. */
  readonly checkpoints: number;
  /** Partitions that are out of history, by exports on record: of their entries only the hashes were compared. */
  readonly retired: readonly Retired[];
  /** The first thing that does not fit, in words; null where all does. */
  readonly fault: string | null;
}

/** What does not fit. */
class Fault {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/**
 * Recomputes the log from the rows, and compares: each row with its leaf, the leaves' order with that of transactions,
 * the tree with the nodes that are stored, with every checkpoint's signature and root, and with those that were kept
 * elsewhere; and looks for rows that the log passed over, for versions of entries that no event tells of or that are
 * gone, and for live entries that are not their last version. Stops at the first fault.
 *
 * With `since`, all of this for the entries behind it, on top of the tree that is stored: which must have its root, and
 * with it be consistent with what was kept. A row below it that was changed since shows when all is verified again.
 *
 * Throws `invalid_argument` for a kept checkpoint that is not by `key`, `unavailable` where a month was taken out meanwhile.
 */
export async function verifyLog(options: VerifyOptions): Promise<Verified> {
  const { source, key, since } = options;
  const kept = options.kept.map((note) => openCheckpoint(note, key));
  const head = await source.head();
  const state: State = { checkpoints: 0, last: since?.last ?? null, good: since?.tree.size ?? 0 };
  const retired = await readRetired(source);
  try {
    checkLength(kept, since, head);
    const tree = since === null ? Frontier.empty() : await resume(options, since, kept);
    await verifyEntries({ ...options, retired }, tree, head?.size ?? 0, kept, state);
    await checkBeyond(source, head?.size ?? 0);
    const forged = await source.findForged();
    if (forged !== null)
      throw new Fault(`${forged} has no transaction, or one that has not begun yet: it was inserted`);
    const falseRule = await source.findFalseRule(eventsFrom(retired));
    if (falseRule !== null) throw new Fault(falseRule);
    return { head, last: state.last, checkpoints: state.checkpoints, retired, fault: null };
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    // Its rows went after it was read which rows may be gone: the next run knows.
    if ((await readRetired(source)).length > retired.length)
      throw new CarnetError('unavailable', 'a month was taken out of history meanwhile: verify again', {
        cause: error,
      });
    return { head, last: state.last, checkpoints: state.checkpoints, retired, fault: error.text };
  }
}

/** Since when all operator events are there: those of a partition that is out of history tell of nothing any more. */
function eventsFrom(retired: readonly Retired[]): bigint {
  const ends = retired.filter(({ kind }) => kind === 'operator_event').map(({ toMicros }) => toMicros);
  return ends.reduce((latest, end) => (end > latest ? end : latest), 0n);
}

interface State {
  checkpoints: number;
  last: Place | null;
  /** The largest tree that a checkpoint confirmed. */
  good: number;
}

function checkLength(kept: readonly Tree[], since: VerifiedBefore | null, head: Tree | null): void {
  const size = head?.size ?? 0;
  const later = kept.find((one) => one.size > size);
  if (later !== undefined)
    throw new Fault(
      `the log has ${size} entries, and had ${later.size} when the kept checkpoint was made: it was set back`,
    );
  if (since !== null && since.tree.size > size)
    throw new Fault(
      `the log has ${size} entries, and had ${since.tree.size} when it was verified: it was set back`,
    );
}

/** The right edge of what was verified, from the hashes that are stored: they give its root, or the log is another. */
async function resume(
  { source, key }: VerifyOptions,
  { tree, last }: VerifiedBefore,
  kept: readonly Checkpoint[],
): Promise<Frontier> {
  const [entry] = await source.entries(tree.size - 1, tree.size);
  // Between another place and the next entry a row that the log passed over would not be seen.
  if (entry === undefined || isBehind(entry, last) || isBehind(last, entry))
    throw new Fault(`entry ${tree.size - 1}, the last that was verified, has another place than it had`);
  const frontier = await stored(Frontier.read(tree.size, source.readNodes));
  if (!equalBytes(frontier.root, tree.root))
    throw new Fault(`the stored tree of ${tree.size} entries is not the one that was verified`);
  const [checkpoint] = await source.checkpoints(tree.size - 1, tree.size);
  if (checkpoint === undefined || !equalBytes(openStored(checkpoint, key).root, tree.root))
    throw new Fault(
      `the checkpoint of ${tree.size} entries, which was verified, is ${checkpoint ? 'another' : 'missing'}`,
    );
  for (const one of kept.filter(({ size }) => size > 0 && size <= tree.size))
    if (!checkConsistency(one, tree, await stored(proveConsistency(one.size, tree.size, source.readNodes))))
      throw new Fault(
        `the kept checkpoint of ${one.size} entries is of another log than the one that was verified`,
      );
  return frontier;
}

/** What the log's stored hashes are needed for: where some are gone, that is what does not fit. */
async function stored<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof CarnetError && errorCodeOf(error) === 'internal') throw new Fault(error.message);
    throw error;
  }
}

/** The log may have grown since `size` was read; whatever came, came with a checkpoint that covers it. */
async function checkBeyond(source: LogSource, size: number): Promise<void> {
  const beyond = await source.entryBeyond(size);
  if (beyond === null) return;
  const head = await source.head();
  if (beyond < 0 || beyond >= (head?.size ?? 0))
    throw new Fault(`entry ${beyond} is in no checkpoint: it was inserted, or checkpoints were taken away`);
}

async function verifyEntries(
  { source, key, since, retired, onProgress }: VerifyOptions & { readonly retired: readonly Retired[] },
  tree: Frontier,
  size: number,
  kept: readonly Tree[],
  state: State,
): Promise<void> {
  onProgress(tree.size, size);
  for await (const chunk of chunksOf(source, { size: tree.size, last: since?.last ?? null }, size, retired)) {
    const trees = [...chunk.checkpoints.map((one) => openStored(one, key)), ...kept];
    await checkNodes(addLeaves(tree, chunk, trees, state), source);
    if (chunk.misfit !== null) throw new Fault(await chunk.misfit.inWords(source));
    state.checkpoints += chunk.checkpoints.length;
    state.last = chunk.last;
    onProgress(tree.size, size);
  }
}

/** Adds those that fit to the tree, and compares it with all that is said of it on the way. */
function addLeaves(
  tree: Frontier,
  { start, leaves }: Chunk,
  trees: readonly Tree[],
  state: State,
): CompleteNode[] {
  const due = trees
    .filter(({ size }) => size > start && size <= start + leaves.length)
    .sort((a, b) => a.size - b.size);
  const completed: CompleteNode[] = [];
  for (const leaf of leaves) {
    completed.push(...tree.push(leaf));
    while (due[0]?.size === tree.size) {
      if (!equalBytes((due.shift() as Tree).root, tree.root))
        throw new Fault(
          `the checkpoint of ${tree.size} entries is of another tree: of the entries ${state.good} to ${tree.size - 1} a row was changed together with its leaf hash, or the checkpoint was`,
        );
      state.good = tree.size;
    }
  }
  return completed;
}

function openStored({ size, root, note }: SignedTree, key: NoteKey): Checkpoint {
  let signed: Checkpoint;
  try {
    signed = openCheckpoint(note, key);
  } catch (error) {
    throw new Fault(`the checkpoint of ${size} entries does not verify: ${(error as Error).message}`);
  }
  if (signed.size !== size || !equalBytes(signed.root, root))
    throw new Fault(`the checkpoint of ${size} entries is not what was signed`);
  return signed;
}

async function checkNodes(completed: readonly CompleteNode[], source: LogSource): Promise<void> {
  const found = await source.nodes(completed);
  for (const [i, { level, index, hash }] of completed.entries()) {
    const node = found[i] ?? null;
    if (node === null || !equalBytes(node, hash))
      throw new Fault(
        `tile ${level - 1}/${index}: its hash, node ${index} of level ${level}, ${node === null ? 'is missing' : 'was changed'}`,
      );
  }
}
