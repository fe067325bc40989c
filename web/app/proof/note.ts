import { type Bytes, concat, equalBytes, fromBase64, sha256, toHex, utf8, verifyEd25519 } from './bytes.ts';

/** A key of C2SP signed-note: whose signature, of which type. */
export interface VerifierKey {
  readonly name: string;
  readonly id: Bytes;
  readonly type: number;
  readonly publicKey: Bytes;
}

interface Signature {
  readonly name: string;
  readonly keyId: Bytes;
  readonly signature: Bytes;
}

export interface Note {
  /** With the newline at its end: what is signed. */
  readonly text: string;
  readonly signatures: readonly Signature[];
}

/** What a log says of itself (C2SP tlog-checkpoint). */
export interface Checkpoint {
  readonly origin: string;
  readonly size: number;
  readonly root: Bytes;
}

/** What a witness said of a checkpoint (C2SP tlog-cosignature). */
export interface Cosignature {
  readonly holds: boolean;
  /** Seconds since 1970. */
  readonly signedAt: number;
}

/** Signature types of C2SP signed-note: of a log, of a witness. */
const ED25519 = 0x01;
export const COSIGNATURE_ED25519 = 0x04;
const KEY_ID_BYTES = 4;
const HASH_BYTES = 32;
const TIME_BYTES = 8;
const SIGNATURE_LINE = /^\u2014 ([^\s+]+) (\S+)$/u;

/** `<name>+<key ID>+<base64 of type and key>`; null for what is none, or whose ID is another key's. */
export async function parseVerifierKey(text: string): Promise<VerifierKey | null> {
  const [, name = '', hex = '', encoded = ''] = /^([^\s+]+)\+([0-9a-f]{8})\+(\S+)$/u.exec(text.trim()) ?? [];
  const typed = fromBase64(encoded);
  if (name === '' || typed === null || typed.length < 2) return null;
  const id = (await sha256(concat(utf8(`${name}\n`), typed))).subarray(0, KEY_ID_BYTES);
  return toHex(id) === hex ? { name, id, type: typed[0] ?? 0, publicKey: typed.slice(1) } : null;
}

/** Null for what is no signed note. */
export function parseNote(note: string): Note | null {
  const end = note.lastIndexOf('\n\n');
  const lines = note.slice(end + 2).split('\n');
  if (end < 0 || lines.length < 2 || lines.pop() !== '') return null;
  const signatures = lines.map(parseSignature);
  if (signatures.some((one) => one === null)) return null;
  return { text: note.slice(0, end + 1), signatures: signatures as Signature[] };
}

/** Null for a text that is no checkpoint. */
export function parseCheckpoint(text: string): Checkpoint | null {
  const [origin = '', size = '', encoded = ''] = text.split('\n');
  const root = fromBase64(encoded);
  const isWhole = origin !== '' && /^(?:0|[1-9]\d{0,15})$/.test(size) && root?.length === HASH_BYTES;
  return isWhole ? { origin, size: Number(size), root } : null;
}

/** Whether the log's key signed the note: once at least, and never wrongly. Others' signatures are passed over. */
export async function isSignedBy(note: Note, key: VerifierKey): Promise<boolean> {
  const ours = signaturesOf(note, key);
  if (key.type !== ED25519 || ours.length === 0) return false;
  const message = utf8(note.text);
  const outcomes = ours.map(({ signature }) => verifyEd25519(key.publicKey, message, signature));
  return (await Promise.all(outcomes)).every((holds) => holds);
}

/** What the witness says of the note; null for a witness that says nothing of it. Ed25519 only. */
export async function cosignatureOf(note: Note, witness: VerifierKey): Promise<Cosignature | null> {
  const [found] = signaturesOf(note, witness);
  if (found === undefined) return null;
  const time = new DataView(found.signature.buffer).getBigUint64(0);
  const message = utf8(`cosignature/v1\ntime ${time}\n${note.text}`);
  const holds = await verifyEd25519(witness.publicKey, message, found.signature.slice(TIME_BYTES));
  return { holds: holds && time > 0n, signedAt: Number(time) };
}

function signaturesOf(note: Note, { name, id }: VerifierKey): Signature[] {
  return note.signatures.filter((one) => one.name === name && equalBytes(one.keyId, id));
}

function parseSignature(line: string): Signature | null {
  const [, name, encoded = ''] = SIGNATURE_LINE.exec(line) ?? [];
  const bytes = fromBase64(encoded);
  if (name === undefined || bytes === null || bytes.length < KEY_ID_BYTES + TIME_BYTES) return null;
  return { name, keyId: bytes.slice(0, KEY_ID_BYTES), signature: bytes.slice(KEY_ID_BYTES) };
}
