import { equalBytes } from '../x509/bytes.ts';
import { type Checkpoint, openCheckpoint } from './log/checkpoint.ts';
import { ENTRY_KINDS, type EntryKind } from './log/entry.ts';
import { type CompleteNode, Frontier } from './log/frontier.ts';
import { type Hash, leafHash } from './log/merkle.ts';
import type { NoteKey } from './log/note.ts';
import type { Tree } from './log/proof.ts';
import type { SignedTree } from './log-store.ts';

/** A row of `log_entry`, with the entry that its row makes now. */
export interface LoggedRow {
  readonly index: number;
  readonly kind: EntryKind;
  readonly xact: bigint;
  readonly id: bigint;
  readonly leafHash: Hash;
  /** Null where there is no such row any more. */
  readonly entry: Uint8Array | null;
}

/** The database as it is, read by one who does not trust it. */
export interface LogSource {
  /** The latest checkpoint; null before the first. */
  head(): Promise<SignedTree | null>;
  /** Those of more than `from` and at most `to` entries, smallest first. */
  checkpoints(from: number, to: number): Promise<SignedTree[]>;
  /** Entries `start` to `end`, without `end`, by index, as far as there are any. */
  rows(start: number, end: number): Promise<LoggedRow[]>;
  /** What is stored for each of these nodes; null for nothing. */
  nodes(nodes: readonly CompleteNode[]): Promise<(Hash | null)[]>;
  /** A row that ought to be in the log by now and is not, in words; null for none. */
  findUnlogged(): Promise<string | null>;
  /** The row that an entry stands for, in words, with what is to be said of it. */
  describe(row: Pick<LoggedRow, 'kind' | 'id'>): Promise<string>;
}

export interface VerifyOptions {
  readonly source: LogSource;
  /** Whose checkpoints they must be. */
  readonly key: NoteKey;
  /** Checkpoints that were kept outside of the database, as signed notes. */
  readonly kept: readonly string[];
  /** Called now and then. */
  readonly onProgress: (done: number, size: number) => void;
}

export interface Verified {
  readonly head: Tree | null;
  readonly checkpoints: number;
  /** The first thing that does not fit, in words; null where all does. */
  readonly fault: string | null;
}

const CHUNK = 2048;
/** Chunks that are read while others are hashed. */
const AHEAD = 3;

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
 * elsewhere; and looks for rows that the log passed over. Stops at the first fault. Throws `invalid_argument` for a
 * kept checkpoint that is not by `key`.
 */
export async function verifyLog(options: VerifyOptions): Promise<Verified> {
  const kept = options.kept.map((note) => openCheckpoint(note, options.key));
  const head = await options.source.head();
  const state = { checkpoints: 0 };
  try {
    checkKept(kept, head);
    await verifyEntries(options, head?.size ?? 0, kept, state);
    await checkBeyond(options.source, head?.size ?? 0);
    const unlogged = await options.source.findUnlogged();
    if (unlogged !== null)
      throw new Fault(`${unlogged} is not in the log, though later ones are: it was inserted`);
    return { head, checkpoints: state.checkpoints, fault: null };
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return { head, checkpoints: state.checkpoints, fault: error.text };
  }
}

function checkKept(kept: readonly Checkpoint[], head: SignedTree | null): void {
  const size = head?.size ?? 0;
  const later = kept.find((one) => one.size > size);
  if (later !== undefined)
    throw new Fault(
      `the log has ${size} entries, and had ${later.size} when the kept checkpoint was made: it was set back`,
    );
}

/** The log may have grown since `size` was read; whatever came, came with a checkpoint that covers it. */
async function checkBeyond(source: LogSource, size: number): Promise<void> {
  const [first] = await source.rows(size, size + 1);
  const head = await source.head();
  if (first !== undefined && (head?.size ?? 0) <= first.index)
    throw new Fault(
      `entry ${first.index} is in no checkpoint: it was inserted, or checkpoints were taken away`,
    );
}

async function verifyEntries(
  { source, key, onProgress }: VerifyOptions,
  size: number,
  kept: readonly Checkpoint[],
  state: { checkpoints: number },
): Promise<void> {
  const tree = Frontier.empty();
  const order = new Order();
  for await (const { rows, checkpoints, end } of chunksOf(source, size)) {
    const trees = [...checkpoints.map((one) => openStored(one, key)), ...kept].sort(
      (a, b) => a.size - b.size,
    );
    const due = trees.filter((one) => one.size > tree.size && one.size <= end);
    const completed: CompleteNode[] = [];
    let good = tree.size;
    for (let i = 0; tree.size < end; i++) {
      const row = rows[i];
      if (row?.index !== tree.size) throw new Fault(`entry ${tree.size} is missing`);
      order.check(row);
      completed.push(...tree.push(await leafOf(row, source)));
      while (due[0]?.size === tree.size) {
        if (!equalBytes((due.shift() as Tree).root, tree.root))
          throw new Fault(
            `the checkpoint of ${tree.size} entries is of another tree: of the entries ${good} to ${tree.size - 1} a row was changed together with its leaf hash, or the checkpoint was`,
          );
        good = tree.size;
      }
    }
    await checkNodes(completed, source);
    state.checkpoints += checkpoints.length;
    onProgress(end, size);
  }
}

/** In order, each read while those before it are hashed. */
async function* chunksOf(source: LogSource, size: number) {
  const read = async (start: number) => {
    const end = Math.min(size, start + CHUNK);
    const [rows, checkpoints] = await Promise.all([source.rows(start, end), source.checkpoints(start, end)]);
    return { rows, checkpoints, end };
  };
  const reading: ReturnType<typeof read>[] = [];
  for (let start = 0; start < size || reading.length > 0; start += CHUNK) {
    if (start < size) {
      const chunk = read(start);
      // A failure counts when it is its turn, also where a fault before it ends everything.
      chunk.catch(() => undefined);
      reading.push(chunk);
    }
    if (start >= size || reading.length > AHEAD) yield await (reading.shift() as ReturnType<typeof read>);
  }
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

async function leafOf(row: LoggedRow, source: LogSource): Promise<Hash> {
  if (row.entry === null)
    throw new Fault(
      `entry ${row.index}: ${await source.describe(row)} is gone, or has another time or transaction`,
    );
  const hash = leafHash(row.entry);
  if (!equalBytes(hash, row.leafHash))
    throw new Fault(
      `entry ${row.index}: ${await source.describe(row)} was changed after it was logged, or its leaf hash was`,
    );
  return hash;
}

async function checkNodes(completed: readonly CompleteNode[], source: LogSource): Promise<void> {
  const stored = await source.nodes(completed);
  for (const [i, { level, index, hash }] of completed.entries()) {
    const found = stored[i] ?? null;
    if (found === null || !equalBytes(found, hash))
      throw new Fault(
        `tile ${level - 1}/${index}: its hash, node ${index} of level ${level}, ${found === null ? 'is missing' : 'was changed'}`,
      );
  }
}

/** Entries are in the order of (transaction, kind, ID): no row comes twice, and none is out of place. */
class Order {
  #last: { readonly xact: bigint; readonly kind: number; readonly id: bigint } | null = null;

  check({ index, xact, kind: name, id }: LoggedRow): void {
    const kind = ENTRY_KINDS[name];
    const last = this.#last;
    const follows =
      last === null ||
      xact > last.xact ||
      (xact === last.xact && (kind > last.kind || (kind === last.kind && id > last.id)));
    if (!follows) throw new Fault(`entry ${index}: ${name} ${id} is out of order`);
    this.#last = { xact, kind, id };
  }
}
