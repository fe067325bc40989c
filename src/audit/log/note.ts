import { createPublicKey, hash, verify } from 'node:crypto';
import { CarnetError } from '../../errors.ts';
import { equalBytes } from '../../x509/bytes.ts';

/** Who a note's signature says it is by (C2SP signed-note, "Verifier keys"). Ed25519. */
export interface NoteKey {
  readonly name: string;
  /** 32 bytes (RFC 8032 §5.1.5). */
  readonly publicKey: Uint8Array;
}

/** A verifier key whatever its signatures are (C2SP signed-note, "Signature types"). */
export interface TypedKey extends NoteKey {
  readonly type: number;
}

/** One signature line: `— <name> base64(<key ID> <signature>)`. */
export interface NoteSignature {
  readonly name: string;
  /** 4 bytes. */
  readonly keyId: Uint8Array;
  readonly signature: Uint8Array;
}

export interface Note {
  /** With the newline at its end: what is signed. */
  readonly text: string;
  readonly signatures: readonly NoteSignature[];
}

/** The signature type of Ed25519 (C2SP signed-note, "Signature types"). */
const ED25519 = 0x01;
const PUBLIC_KEY_BYTES = 32;
const KEY_ID_BYTES = 4;
/** Neither is in any name: one ends it in a signature line, the other in a verifier key. */
const NAME = /^[^\s+\p{Cc}]+$/u;
const SIGNATURE_LINE = /^\u2014 (\S+) ([A-Za-z0-9+/]+={0,2})$/u;
/** A note with a signature of each of a hundred witnesses is smaller. */
const MAX_NOTE_CHARS = 65_536;
/** SubjectPublicKeyInfo of an Ed25519 key without the key (RFC 8410 §4). */
const SPKI_PREFIX = Buffer.from('302a300506032b6570032100', 'hex');

/** Of a SubjectPublicKeyInfo, DER. Throws `key_unsupported` for any key but Ed25519's. */
export function noteKeyOf(name: string, spki: Uint8Array): NoteKey {
  const { length } = SPKI_PREFIX;
  if (spki.length !== length + PUBLIC_KEY_BYTES || !equalBytes(spki.subarray(0, length), SPKI_PREFIX))
    throw new CarnetError('key_unsupported', 'notes are signed by Ed25519 keys');
  return { name, publicKey: spki.subarray(length) };
}

/** `<name>+<key ID, hex>+<base64 of the type and the key>`: what verifiers of other makers take. */
export function formatVerifierKey(key: NoteKey): string {
  return formatTypedKey({ ...key, type: ED25519 });
}

/** Throws `invalid_argument`. */
export function parseVerifierKey(text: string): NoteKey {
  const { name, type, publicKey } = parseTypedKey(text);
  if (type !== ED25519 || publicKey.length !== PUBLIC_KEY_BYTES)
    throw new CarnetError(
      'invalid_argument',
      `${JSON.stringify(text.slice(0, 200))} is not the key of a log`,
    );
  return { name, publicKey };
}

/** The same for a key of any type. */
export function formatTypedKey(key: TypedKey): string {
  const typed = Buffer.concat([Uint8Array.of(key.type), key.publicKey]);
  return `${key.name}+${Buffer.from(keyIdOf(key)).toString('hex')}+${typed.toString('base64')}`;
}

/** Of any type, with a public key of any length: the caller knows which it takes. Throws `invalid_argument`. */
export function parseTypedKey(text: string): TypedKey {
  const [, name = '', encoded = ''] = /^([^+]+)\+[0-9a-f]{8}\+(.+)$/.exec(text) ?? [];
  const typed = Buffer.from(encoded, 'base64');
  const key = { name, type: typed[0] ?? 0, publicKey: typed.subarray(1) };
  if (!NAME.test(name) || typed.length < 2 || formatTypedKey(key) !== text)
    throw new CarnetError('invalid_argument', `${JSON.stringify(text.slice(0, 200))} is not a verifier key`);
  return key;
}

export function encodeNote({ text, signatures }: Note): string {
  const lines = signatures.map(
    ({ name, keyId, signature }) =>
      `\u2014 ${name} ${Buffer.concat([keyId, signature]).toString('base64')}\n`,
  );
  return `${text}\n${lines.join('')}`;
}

/** Throws `invalid_argument` for what is no note. It is not verified yet. */
export function parseNote(note: string): Note {
  const end = note.lastIndexOf('\n\n');
  const lines = note.slice(end + 2).split('\n');
  const isWhole = note.length <= MAX_NOTE_CHARS && end >= 0 && lines.length > 1 && lines.pop() === '';
  if (!isWhole || /[^\n\P{Cc}]/u.test(note)) throw malformed();
  return { text: note.slice(0, end + 1), signatures: lines.map(parseSignature) };
}

/** Signature lines alone, as they stand at a note's end. Throws `invalid_argument`. */
export function parseSignatures(lines: string): NoteSignature[] {
  const { text, signatures } = parseNote(`-\n\n${lines}`);
  if (text !== '-\n') throw malformed();
  return [...signatures];
}

/** The signature line of `key`, by whatever signs with it. */
export function noteSignature(key: NoteKey, signature: Uint8Array): NoteSignature {
  return { name: key.name, keyId: keyIdOf({ ...key, type: ED25519 }), signature };
}

/** Whether `key` signed the note. Signatures by others are passed over, as the format wants it. */
export function isSignedBy(note: Note, key: NoteKey): boolean {
  const ours = signaturesOf(note, { ...key, type: ED25519 });
  const text = Buffer.from(note.text);
  return ours.length > 0 && ours.every(({ signature }) => verifyEd25519(key.publicKey, text, signature));
}

/** Those that say they are by `key`: name and key ID are its own. Not verified. */
export function signaturesOf(note: Note, key: TypedKey): NoteSignature[] {
  const keyId = keyIdOf(key);
  return note.signatures.filter((one) => one.name === key.name && equalBytes(one.keyId, keyId));
}

/** RFC 8032 §5.1.7; `publicKey` has 32 bytes. */
export function verifyEd25519(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const key = Buffer.concat([SPKI_PREFIX, publicKey]);
  return verify(null, message, createPublicKey({ key, format: 'der', type: 'spki' }), signature);
}

/** The first four bytes of SHA-256 over name, newline, type and key. */
export function keyIdOf({ name, type, publicKey }: TypedKey): Uint8Array {
  const input = Buffer.concat([Buffer.from(`${name}\n`), Uint8Array.of(type), publicKey]);
  return hash('sha256', input, 'buffer').subarray(0, KEY_ID_BYTES);
}

function parseSignature(line: string): NoteSignature {
  const [, name, encoded = ''] = SIGNATURE_LINE.exec(line) ?? [];
  const bytes = Buffer.from(encoded, 'base64');
  if (
    name === undefined ||
    !NAME.test(name) ||
    bytes.length <= KEY_ID_BYTES ||
    bytes.toString('base64') !== encoded
  )
    throw malformed();
  return { name, keyId: bytes.subarray(0, KEY_ID_BYTES), signature: bytes.subarray(KEY_ID_BYTES) };
}

function malformed(): CarnetError {
  return new CarnetError('invalid_argument', 'this is not a signed note (C2SP signed-note)');
}
