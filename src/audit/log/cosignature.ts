import { createPublicKey, verify } from 'node:crypto';
import { CarnetError } from '../../errors.ts';
import { type Checkpoint, parseCheckpoint } from './checkpoint.ts';
import {
  formatTypedKey,
  keyIdOf,
  type Note,
  type NoteSignature,
  parseNote,
  parseTypedKey,
  signaturesOf,
  type TypedKey,
  verifyEd25519,
} from './note.ts';

/** Whose cosignatures count (C2SP tlog-cosignature, "Format"): a name, a public key and how it signs. */
export type WitnessKey = TypedKey;

/** What a witness says: at this time, no checkpoint that it knew of the log was later, and none contradicts it. */
export interface Cosignature {
  readonly witness: WitnessKey;
  /** By the witness' clock, in seconds since 1970. */
  readonly signedAt: number;
  readonly signature: NoteSignature;
}

/** Which witnesses an auditor believes, and how many of them a checkpoint must have. */
export interface WitnessPolicy {
  readonly witnesses: readonly WitnessKey[];
  readonly quorum: number;
}

const TIMESTAMP_BYTES = 8;
/** Begins what is signed, so that it passes for nothing else. 12 bytes, with a zero at the end. */
const ML_DSA_LABEL = Buffer.from('subtree/v1\n\0');
/** SubjectPublicKeyInfo of an ML-DSA-44 key without the key (RFC 9881 §4). */
const ML_DSA_SPKI_PREFIX = Buffer.from('30820532300b06096086480165030403110382052100', 'hex');

interface Scheme {
  readonly publicKeyBytes: number;
  readonly signatureBytes: number;
  /** Whether the signature is one, of the time and the note's text, by the witness. */
  readonly verify: (witness: WitnessKey, time: bigint, text: string, signature: Uint8Array) => boolean;
}

/** By the signature types of C2SP signed-note. */
const SCHEMES: ReadonlyMap<number, Scheme> = new Map([
  [0x04, { publicKeyBytes: 32, signatureBytes: 64, verify: verifyByEd25519 }],
  [0x06, { publicKeyBytes: 1312, signatureBytes: 2420, verify: verifyByMlDsa }],
]);

/** A verifier key of type 0x04 (Ed25519) or 0x06 (ML-DSA-44). Throws `invalid_argument`. */
export function parseWitnessKey(text: string): WitnessKey {
  const key = parseTypedKey(text);
  if (SCHEMES.get(key.type)?.publicKeyBytes !== key.publicKey.length)
    throw new CarnetError(
      'invalid_argument',
      `${JSON.stringify(text.slice(0, 200))} is not the key of a witness, which is of type 04 or 06 (C2SP tlog-cosignature)`,
    );
  return key;
}

export function formatWitnessKey(key: WitnessKey): string {
  return formatTypedKey(key);
}

/** `<name>+<key ID, hex>`: short, and no other key's but by an accident that a verifier would notice. */
export function witnessId(key: WitnessKey): string {
  return `${key.name}+${Buffer.from(keyIdOf(key)).toString('hex')}`;
}

/**
 * The cosignatures of a note by these witnesses, the latest of each, in the order of `witnesses`; those by others are
 * passed over. Throws `invalid_argument` for a note that is no checkpoint, or where a cosignature by one of them does
 * not verify: such a note is to be turned down whole (C2SP signed-note, "Signatures").
 */
export function cosignaturesOf(note: Note, witnesses: readonly WitnessKey[]): Cosignature[] {
  parseCheckpoint(note.text);
  return witnesses.flatMap((witness) => {
    const found = signaturesOf(note, witness).map((signature) => open(note.text, witness, signature));
    const [latest] = found.sort((a, b) => b.signedAt - a.signedAt);
    return latest === undefined ? [] : [latest];
  });
}

/**
 * The cosignatures that make up the quorum, and all others by these witnesses. Throws `invalid_argument` as
 * {@link cosignaturesOf} does, and `conflict` where too few of them cosigned, with the names of those that did not.
 */
export function checkWitnesses(note: string, { witnesses, quorum }: WitnessPolicy): Cosignature[] {
  const found = cosignaturesOf(parseNote(note), witnesses);
  if (found.length >= quorum) return found;
  const missing = witnesses.filter((witness) => !found.some((one) => one.witness === witness));
  throw new CarnetError(
    'conflict',
    `the checkpoint has cosignatures of ${found.length} of the ${quorum} witnesses that it needs: none of ${missing.map(witnessId).join(', ')}`,
  );
}

function open(text: string, witness: WitnessKey, signature: NoteSignature): Cosignature {
  const scheme = SCHEMES.get(witness.type);
  const bytes = Buffer.from(signature.signature);
  if (scheme === undefined || bytes.length !== TIMESTAMP_BYTES + scheme.signatureBytes) throw wrong(witness);
  const time = bytes.readBigUInt64BE();
  // None without a time is of a checkpoint (C2SP tlog-witness, "add-checkpoint").
  if (time === 0n || time > Number.MAX_SAFE_INTEGER) throw wrong(witness);
  if (!scheme.verify(witness, time, text, bytes.subarray(TIMESTAMP_BYTES))) throw wrong(witness);
  return { witness, signedAt: Number(time), signature };
}

/** C2SP tlog-cosignature, "Ed25519 signed message". */
function verifyByEd25519(
  { publicKey }: WitnessKey,
  time: bigint,
  text: string,
  signature: Uint8Array,
): boolean {
  return verifyEd25519(publicKey, Buffer.from(`cosignature/v1\ntime ${time}\n${text}`), signature);
}

/** C2SP tlog-cosignature, "ML-DSA-44 signed message": of the whole tree. */
function verifyByMlDsa(
  { name, publicKey }: WitnessKey,
  time: bigint,
  text: string,
  signature: Uint8Array,
): boolean {
  const key = createPublicKey({
    key: Buffer.concat([ML_DSA_SPKI_PREFIX, publicKey]),
    format: 'der',
    type: 'spki',
  });
  return verify(null, subtreeMessage(name, time, parseCheckpoint(text)), key, signature);
}

function subtreeMessage(cosigner: string, time: bigint, { origin, size, root }: Checkpoint): Uint8Array {
  return Buffer.concat([
    ML_DSA_LABEL,
    opaque(cosigner),
    uint64(time),
    opaque(origin),
    uint64(0n),
    uint64(BigInt(size)),
    root,
  ]);
}

/** opaque<1..2^8-1> (RFC 8446 §3.4). */
function opaque(text: string): Uint8Array {
  const bytes = Buffer.from(text);
  if (bytes.length === 0 || bytes.length > 0xff)
    throw new CarnetError('invalid_argument', `a name of ${bytes.length} bytes has no ML-DSA cosignatures`);
  return Buffer.concat([Uint8Array.of(bytes.length), bytes]);
}

function uint64(value: bigint): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(value);
  return bytes;
}

function wrong(witness: WitnessKey): CarnetError {
  return new CarnetError(
    'invalid_argument',
    `the cosignature that says it is by ${witnessId(witness)} does not verify`,
  );
}
