import { CarnetError, errorCodeOf } from '../errors.ts';
import { openCheckpoint } from './log/checkpoint.ts';
import { type Cosignature, checkWitnesses, type WitnessPolicy, witnessId } from './log/cosignature.ts';
import type { NoteKey } from './log/note.ts';
import { checkConsistency, proveConsistency, type Tree } from './log/proof.ts';
import type { LogReader } from './log-store.ts';

/** How far witnesses vouch for a log. */
export interface Witnessed {
  readonly size: number;
  readonly cosignatures: readonly Cosignature[];
}

/**
 * Finds the latest checkpoint that enough witnesses cosigned, and verifies it: the log's signature, theirs, and that
 * the tree of `head`, which was verified, begins with its. Throws `conflict`, with what does not fit.
 */
export async function verifyWitnessed(
  log: Pick<LogReader, 'witnessed' | 'readNodes'>,
  key: NoteKey,
  head: Tree,
  policy: WitnessPolicy,
): Promise<Witnessed> {
  const found = await log.witnessed();
  if (found === null)
    throw new CarnetError(
      'conflict',
      `no checkpoint was cosigned by ${policy.quorum} of ${policy.witnesses.map(witnessId).join(', ')}`,
    );
  const { tree, cosignatures } = opened(found.note, key, policy);
  const isOurs =
    tree.size <= head.size &&
    checkConsistency(tree, head, await proveConsistency(tree.size, head.size, log.readNodes));
  if (!isOurs)
    throw new CarnetError('conflict', `the witnesses cosigned another tree of ${tree.size} entries`);
  return { size: tree.size, cosignatures };
}

function opened(note: string, key: NoteKey, policy: WitnessPolicy) {
  try {
    return { tree: openCheckpoint(note, key), cosignatures: checkWitnesses(note, policy) };
  } catch (error) {
    if (errorCodeOf(error) !== 'invalid_argument') throw error;
    throw new CarnetError('conflict', (error as Error).message, { cause: error });
  }
}
