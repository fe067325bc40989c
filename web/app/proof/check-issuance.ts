import type { IssuanceDetailsBody } from '../../../src/api/issuances.ts';
import { type Bytes, equalBytes, fromBase64, toHex } from './bytes.ts';
import { differences } from './compare.ts';
import { decodeIssuance } from './entry.ts';
import { leafHash, rootByProof } from './merkle.ts';
import {
  type Checkpoint,
  COSIGNATURE_ED25519,
  cosignatureOf,
  isSignedBy,
  type Note,
  parseCheckpoint,
  parseNote,
  parseVerifierKey,
} from './note.ts';

/** One thing that must hold, and whether it does. `open`: it could not be said, or there was nothing to check. */
export interface Step {
  readonly title: string;
  readonly outcome: 'holds' | 'fails' | 'open';
  /** What was computed, and against what it was held. */
  readonly detail: string;
}

export interface Keys {
  /** The log's, which the auditor should have from elsewhere than from this server. */
  readonly log: string;
  readonly witnesses: readonly string[];
}

/**
 * Shows that the record is what the log has, by the bytes that came with it and nothing else: each step is computed
 * here, in the browser, by WebCrypto. All steps are taken, also after one that fails. Resolves to null for a record
 * that is not in the log yet.
 */
export async function checkIssuance(record: IssuanceDetailsBody, keys: Keys): Promise<Step[] | null> {
  const { log } = record;
  if (log === null) return null;
  const entry = fromBase64(log.entry);
  const note = parseNote(log.checkpoint);
  const checkpoint = note && parseCheckpoint(note.text);
  return [
    await recordStep(record, entry),
    await inclusionStep(log, entry, checkpoint),
    await signatureStep(note, checkpoint, keys.log),
    ...(await Promise.all(keys.witnesses.map((witness) => witnessStep(note, witness)))),
  ];
}

async function recordStep(record: IssuanceDetailsBody, entry: Bytes | null): Promise<Step> {
  const title = 'This page shows what the log has';
  const logged = entry && decodeIssuance(entry);
  if (entry === null || logged === null)
    return {
      title,
      outcome: 'fails',
      detail:
        'The entry is not one of an issuance that can be read back: it is malformed, or only its digest is logged.',
    };
  const differ = await differences(record, logged);
  if (differ.length > 0)
    return { title, outcome: 'fails', detail: `The entry says something else of: ${differ.join(', ')}.` };
  return {
    title,
    outcome: 'holds',
    detail: `All ${logged.fields.size + 1} fields of the record are those of the entry's ${entry.length} bytes, the certificate and its SHA-256 ${record.certificate_sha256} among them.`,
  };
}

async function inclusionStep(
  log: NonNullable<IssuanceDetailsBody['log']>,
  entry: Bytes | null,
  checkpoint: Checkpoint | null,
): Promise<Step> {
  const title = `The entry is leaf ${log.index} of the log's tree`;
  const proof = log.inclusion_proof.map(fromBase64);
  if (entry === null || checkpoint === null || proof.some((hash) => hash?.length !== 32))
    return {
      title,
      outcome: 'fails',
      detail: 'The entry, a hash of the proof or the checkpoint is malformed.',
    };
  const leaf = await leafHash(entry);
  const root = await rootByProof(log.index, checkpoint.size, leaf, proof as Bytes[]);
  const signed = toHex(checkpoint.root);
  if (root === null || !equalBytes(root, checkpoint.root))
    return {
      title,
      outcome: 'fails',
      detail: `From the leaf's hash ${toHex(leaf)} the proof leads to ${root === null ? 'no root of such a tree' : toHex(root)}, not to the checkpoint's ${signed}.`,
    };
  return {
    title,
    outcome: 'holds',
    detail: `From the leaf's hash ${toHex(leaf)}, ${proof.length} hashes lead to ${signed}, the root of the checkpoint's tree of ${checkpoint.size}.`,
  };
}

async function signatureStep(note: Note | null, checkpoint: Checkpoint | null, text: string): Promise<Step> {
  const title = 'The checkpoint is signed by the log';
  const key = await parseVerifierKey(text);
  if (key === null)
    return {
      title,
      outcome: 'fails',
      detail: `${JSON.stringify(text.slice(0, 200))} is not a verifier key.`,
    };
  if (note === null || checkpoint === null)
    return { title, outcome: 'fails', detail: 'The checkpoint is malformed.' };
  if (checkpoint.origin !== key.name)
    return {
      title,
      outcome: 'fails',
      detail: `It is of ${checkpoint.origin}, and the key is ${key.name}'s.`,
    };
  const holds = await isSignedBy(note, key);
  return {
    title,
    outcome: holds ? 'holds' : 'fails',
    detail: `Ed25519, by the key ${toHex(key.id)} of ${key.name}: the signature ${holds ? 'verifies' : 'does not verify'}.`,
  };
}

async function witnessStep(note: Note | null, text: string): Promise<Step> {
  const key = await parseVerifierKey(text);
  const title = `The witness ${key?.name ?? text.slice(0, 80)} saw it`;
  if (key === null || note === null)
    return { title, outcome: 'fails', detail: "The witness' key or the checkpoint is malformed." };
  if (key.type !== COSIGNATURE_ED25519)
    return {
      title,
      outcome: 'open',
      detail: 'Browsers cannot check this type of key: carnet audit verify does.',
    };
  const found = await cosignatureOf(note, key);
  if (found === null) return { title, outcome: 'open', detail: 'It has not cosigned this checkpoint.' };
  const at = new Date(found.signedAt * 1000);
  return found.holds
    ? { title, outcome: 'holds', detail: `Ed25519, cosigned at ${at.toISOString()} by its own clock.` }
    : { title, outcome: 'fails', detail: 'The cosignature does not verify.' };
}
