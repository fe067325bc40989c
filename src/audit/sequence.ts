import type { KeyStore } from '../ca/key-store.ts';
import type { Signer } from '../ca/signer.ts';
import { CarnetError } from '../errors.ts';
import { equalBytes } from '../x509/bytes.ts';
import { encodeCheckpoint, openCheckpoint } from './log/checkpoint.ts';
import { Frontier } from './log/frontier.ts';
import { encodeNote, noteSignature } from './log/note.ts';
import type { Tree } from './log/proof.ts';
import { createLogKey, verifierOf } from './log-key.ts';
import type { LogStore, LogTransaction, SignedTree, StoredLogKey } from './log-store.ts';

export interface SequenceOptions {
  readonly store: LogStore;
  /** Where the log's key is made. */
  readonly newKeys: KeyStore;
  readonly open: (key: StoredLogKey) => Signer;
  readonly origin: string;
}

export interface Sequenced {
  /** How many entries came in. */
  readonly added: number;
  /** All that was recorded, but for transactions that are under way, is in the log now. */
  readonly whole: boolean;
  /** The log's latest checkpoint; null before the first. */
  readonly head: Tree | null;
}

/**
 * One turn of sequencing: rows that have no entry get one, and one new checkpoint covers them. Null while another
 * has the turn.
 *
 *  1. The latest checkpoint must be by our own key, and of the very tree that is stored; `seen`, the latest that
 *     this process knew of, must not be later. Else nothing is added: a log that was tampered with or set back is
 *     not signed for again.
 *  2. Rows become entries, in the order of their transactions.
 *  3. What they complete of the tree is stored.
 *  4. The new tree is signed, and all is committed at once: a crash at any time leaves the log as it was, or whole.
 *
 * Throws `internal` by 1, and what the key or the database does.
 */
export function sequence(
  options: SequenceOptions,
  seen: Tree | null,
  limit: number,
): Promise<Sequenced | null> {
  return options.store.sequence(async (tx) => {
    const key = (await tx.key()) ?? (await beginLog(tx, options));
    const head = await tx.head();
    checkHead(head, seen, key);
    const leaves = await tx.append(head?.size ?? 0, limit);
    if (leaves.length === 0) return { added: 0, whole: true, head };
    const tree = await Frontier.read(head?.size ?? 0, tx.readNodes);
    if (head !== null && !equalBytes(tree.root, head.root))
      throw broken(`the stored tree of ${head.size} entries is not the one of its checkpoint`);
    await tx.insertNodes(leaves.flatMap((leaf) => tree.push(leaf)));
    const signed = await sign(tree, key, options.open(key));
    await tx.insertCheckpoint(signed);
    return { added: leaves.length, whole: leaves.length < limit, head: signed };
  });
}

async function beginLog(tx: LogTransaction, { newKeys, origin }: SequenceOptions): Promise<StoredLogKey> {
  const key = await createLogKey(origin, newKeys);
  await tx.insertKey(key);
  return key;
}

function checkHead(head: SignedTree | null, seen: Tree | null, key: StoredLogKey): void {
  if (seen !== null && (head === null || head.size < seen.size))
    throw broken(
      `it has ${head?.size ?? 0} entries, and had ${seen.size} before: an older database was put back`,
    );
  if (head === null) return;
  const noted = openCheckpoint(head.note, verifierOf(key));
  if (noted.size !== head.size || !equalBytes(noted.root, head.root))
    throw broken(`the checkpoint of ${head.size} entries is not what was signed`);
  if (seen !== null && seen.size === head.size && !equalBytes(seen.root, head.root))
    throw broken(`there are two checkpoints of ${head.size} entries`);
}

async function sign({ size, root }: Frontier, key: StoredLogKey, signer: Signer): Promise<SignedTree> {
  const text = encodeCheckpoint({ origin: key.origin, size, root });
  const signature = await signer.sign(Buffer.from(text));
  const note = encodeNote({ text, signatures: [noteSignature(verifierOf(key), signature)] });
  // A signer can be faulty, and what is published cannot be taken back.
  openCheckpoint(note, verifierOf(key));
  return { size, root, note };
}

function broken(what: string): CarnetError {
  return new CarnetError(
    'internal',
    `the log is broken: ${what}; run carnet audit verify, and see docs/AUDIT.md`,
  );
}
