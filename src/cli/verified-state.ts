import { constants } from 'node:fs';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { z } from 'zod';
import { openCheckpoint } from '../audit/log/checkpoint.ts';
import { ENTRY_KINDS, type EntryKind } from '../audit/log/entry.ts';
import { formatVerifierKey, type NoteKey, parseVerifierKey } from '../audit/log/note.ts';
import type { Place } from '../audit/log-source.ts';
import type { VerifiedBefore } from '../audit/verify-log.ts';
import { CarnetError } from '../errors.ts';

const Int64 = z.string().regex(/^\d{1,20}$/);

/** What the auditor keeps of a run, in a file. */
const VerifiedState = z.strictObject({
  format: z.literal('carnet-verified-1'),
  verifier_key: z.string(),
  /** The signed note of all that was verified, as the log had it. */
  checkpoint: z.string(),
  /** Where the last of its entries is in the order of the log. */
  last: z.strictObject({
    kind: z.enum(Object.keys(ENTRY_KINDS) as [EntryKind, ...EntryKind[]]),
    xact: Int64,
    id: Int64,
  }),
  verified_at: z.iso.datetime(),
});

export interface KeptState extends VerifiedBefore {
  readonly key: NoteKey;
  /** The signed note. */
  readonly checkpoint: string;
  /** ISO 8601. */
  readonly verifiedAt: string;
}

/** Null where there is no such file yet. Throws `invalid_argument` for one that is damaged or of something else. */
export async function readState(file: string): Promise<KeptState | null> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw new CarnetError('invalid_argument', `${file} cannot be read: ${error.message}`, { cause: error });
  });
  if (text === null) return null;
  try {
    const state = VerifiedState.parse(JSON.parse(text));
    const key = parseVerifierKey(state.verifier_key);
    const last = { kind: state.last.kind, xact: BigInt(state.last.xact), id: BigInt(state.last.id) };
    const tree = openCheckpoint(state.checkpoint, key);
    return { key, tree, last, checkpoint: state.checkpoint, verifiedAt: state.verified_at };
  } catch (error) {
    throw new CarnetError(
      'invalid_argument',
      `${file} is not what carnet audit verify --state wrote: verify all again, with another file`,
      { cause: error },
    );
  }
}

/** Replaces the file, or leaves the one that is there. */
export async function writeState(
  file: string,
  { key, checkpoint, last, verifiedAt }: Omit<KeptState, 'tree'> & { readonly last: Place },
): Promise<void> {
  const state: z.input<typeof VerifiedState> = {
    format: 'carnet-verified-1',
    verifier_key: formatVerifierKey(key),
    checkpoint,
    last: { kind: last.kind, xact: String(last.xact), id: String(last.id) },
    verified_at: verifiedAt,
  };
  const next = `${file}.next`;
  await rm(next, { force: true });
  {
    await using handle = await open(next, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o644);
    await handle.writeFile(`${JSON.stringify(state, null, 2)}\n`);
    await handle.sync();
  }
  await rename(next, file);
  await using directory = await open(dirname(file));
  await directory.sync();
}
