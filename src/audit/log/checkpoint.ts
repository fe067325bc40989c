import { CarnetError } from '../../errors.ts';
import { HASH_BYTES } from './merkle.ts';
import { isSignedBy, type NoteKey, parseNote } from './note.ts';
import type { Tree } from './proof.ts';

/** What a log says of itself: a name, and a tree (C2SP tlog-checkpoint). */
export interface Checkpoint extends Tree {
  readonly origin: string;
}

/** The note's text: what is signed. */
export function encodeCheckpoint({ origin, size, root }: Checkpoint): string {
  return `${origin}\n${size}\n${Buffer.from(root).toString('base64')}\n`;
}

/** Throws `invalid_argument` for a text that is no checkpoint. Lines after the third are extensions. */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin = '', size = '', encoded = ''] = text.split('\n');
  const root = Buffer.from(encoded, 'base64');
  const isWhole =
    origin !== '' &&
    /^(0|[1-9]\d*)$/.test(size) &&
    Number.isSafeInteger(Number(size)) &&
    root.length === HASH_BYTES &&
    root.toString('base64') === encoded;
  if (!isWhole) throw new CarnetError('invalid_argument', 'this is not a checkpoint (C2SP tlog-checkpoint)');
  return { origin, size: Number(size), root };
}

/** The checkpoint of a note that the log's key signed. Throws `invalid_argument` for any other. */
export function openCheckpoint(text: string, key: NoteKey): Checkpoint {
  const note = parseNote(text);
  if (!isSignedBy(note, key))
    throw new CarnetError('invalid_argument', `the checkpoint is not signed by the key of ${key.name}`);
  const checkpoint = parseCheckpoint(note.text);
  if (checkpoint.origin !== key.name)
    throw new CarnetError(
      'invalid_argument',
      `the checkpoint is of ${checkpoint.origin}, not of ${key.name}`,
    );
  return checkpoint;
}
