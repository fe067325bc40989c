import { CarnetError, errorCodeOf } from '../errors.ts';
import {
  encodeAddCheckpoint,
  readAnswer,
  type WitnessAnswer,
  type WitnessFault,
} from './log/add-checkpoint.ts';
import { cosignaturesOf } from './log/cosignature.ts';
import { encodeNote, parseNote, parseSignatures } from './log/note.ts';
import { proveConsistency } from './log/proof.ts';
import type { SignedTree } from './log-store.ts';
import type { Witness, WitnessProblem, WitnessStore } from './witness.ts';

/** Sends a request's body to a witness, and returns its answer. Throws `unavailable`, `timeout`, `too_large`. */
export type PostToWitness = (
  witness: Witness,
  body: string,
) => Promise<{ readonly status: number; readonly body: string }>;

export interface CosignOptions {
  readonly store: WitnessStore;
  readonly post: PostToWitness;
}

/** The size that was cosigned, or why none was. */
export type Cosigned = { readonly size: number } | { readonly problem: WitnessProblem };

/** One to learn which size it knows, one to go on from there, and one where it learned of a later one between. */
const MAX_REQUESTS = 3;

/**
 * Has a witness cosign `head`, where `knownSize` is the last size that we have its cosignature of.
 *
 *  1. It gets the checkpoint, with the proof that the tree which it knows is how this one begins.
 *  2. Where it knows of another size, it says so: the proof is made from there, once more. What it knows beyond our
 *     latest checkpoint, we signed and have no more.
 *  3. Its cosignature is verified before it is stored: nothing else that it sends is kept.
 *
 * A witness is not trusted: whatever it answers ends here, as a problem of its own. Throws what the store throws.
 */
export async function cosign(
  { store, post }: CosignOptions,
  witness: Witness,
  head: SignedTree,
  knownSize: number,
): Promise<Cosigned> {
  let [tree, oldSize] = [head, knownSize];
  for (let requests = 0; requests < MAX_REQUESTS; requests++) {
    const proof = oldSize === 0 ? [] : await proveConsistency(oldSize, tree.size, store.readNodes);
    const answer = await ask(post, witness, encodeAddCheckpoint({ oldSize, proof, note: tree.note }));
    if (answer.kind === 'failed') return problem(answer.fault, answer.reason);
    if (answer.kind === 'cosigned') return keep(store, witness, tree, answer.lines);
    if (answer.size > tree.size) tree = (await store.head()) ?? tree;
    if (answer.size > tree.size)
      return problem(
        'ahead',
        `it cosigned a tree of ${answer.size} entries of this log, which has ${tree.size}: the database was set back, or two of them have the log's key`,
      );
    oldSize = answer.size;
  }
  return problem('bad_answer', 'it asks for a proof from one size after the other');
}

async function ask(post: PostToWitness, witness: Witness, body: string): Promise<WitnessAnswer> {
  try {
    const answer = await post(witness, body);
    return readAnswer(answer.status, answer.body);
  } catch (error) {
    if (!(error instanceof CarnetError)) throw error;
    const fault = errorCodeOf(error) === 'too_large' ? 'bad_answer' : 'unreachable';
    return { kind: 'failed', fault, reason: error.message };
  }
}

async function keep(
  store: WitnessStore,
  witness: Witness,
  { size, note }: SignedTree,
  lines: string,
): Promise<Cosigned> {
  const line = cosignatureIn(lines, note, witness);
  if (line === null) return problem('bad_answer', 'its cosignature does not verify, or is by another key');
  await store.insertCosignature(witness, size, line);
  return { size };
}

/** The one line that is by the witness, and verifies; null for none. */
function cosignatureIn(lines: string, note: string, { key }: Witness): string | null {
  try {
    const { text } = parseNote(note);
    const [found] = cosignaturesOf({ text, signatures: parseSignatures(lines) }, [key]);
    if (found === undefined) return null;
    return encodeNote({ text, signatures: [found.signature] }).slice(text.length + 1);
  } catch (error) {
    if (errorCodeOf(error) === 'invalid_argument') return null;
    throw error;
  }
}

function problem(code: WitnessFault, reason: string): Cosigned {
  return { problem: { code, reason } };
}
