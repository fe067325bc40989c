import { hash } from 'node:crypto';
import { CarnetError } from '../../errors.ts';
import { decodeTimestamp } from './record-values.ts';

/** What a leaf tells of, by the number that it has in entries and in the database. */
export const ENTRY_KINDS = { issuance: 1, revocation: 2, operator_event: 3 } as const;
export type EntryKind = keyof typeof ENTRY_KINDS;

/** The columns of each kind of row that count, in the order in which an entry has them: all of them. */
export const ENTRY_COLUMNS = {
  issuance: [
    'id',
    'xact',
    'recorded_at',
    'not_before',
    'not_after',
    'entry_version',
    'serial',
    'profile',
    'identity',
    'dns_names',
    'authority_id',
    'public_key_sha256',
    'certificate_sha256',
    'certificate',
    'node',
    'instance',
    'evidence',
    'entry_id',
    'requester',
  ],
  revocation: [
    'id',
    'xact',
    'revoked_at',
    'serial',
    'authority_id',
    'not_after',
    'reason_code',
    'reason',
    'actor',
    'denial_id',
  ],
  operator_event: ['id', 'xact', 'recorded_at', 'actor', 'action', 'subject', 'before', 'after', 'reason'],
} as const satisfies Record<EntryKind, readonly string[]>;

/** The first byte: what follows the kind is the record itself, or only its SHA-256 where it is too long. */
export const ENTRY_FORMATS = { record: 1, digest: 2 } as const;
/** A record longer than this is in the log by its SHA-256: a bundle's lengths end at 65,535. */
export const MAX_RECORD_BYTES = 60_000;

export interface Entry {
  readonly kind: EntryKind;
  /** Each column's value as PostgreSQL sends it in binary; null for none. Null altogether where only a digest is kept. */
  readonly columns: ReadonlyMap<string, Uint8Array | null> | null;
}

/** The entry of a row in two parts, by its record: what PostgreSQL's record_send makes of its columns (docs/AUDIT.md). */
export function encodeEntry(kind: EntryKind, record: Uint8Array): [head: Uint8Array, body: Uint8Array] {
  return record.length <= MAX_RECORD_BYTES
    ? [Uint8Array.of(ENTRY_FORMATS.record, ENTRY_KINDS[kind]), record]
    : [Uint8Array.of(ENTRY_FORMATS.digest, ENTRY_KINDS[kind]), hash('sha256', record, 'buffer')];
}

/** Of a record, the first three columns, which every kind has: 8 bytes each, behind 8 for its type and length. */
export function placeOf(record: Buffer): { id: bigint; xact: bigint; recordedAtMicros: bigint } {
  return {
    id: record.readBigInt64BE(12),
    xact: record.readBigInt64BE(28),
    recordedAtMicros: decodeTimestamp(record, 44),
  };
}

/** Reads an entry back (docs/AUDIT.md, byte by byte). Throws `invalid_argument` for one that is malformed. */
export function decodeEntry(bytes: Uint8Array): Entry {
  const kind = (Object.keys(ENTRY_KINDS) as EntryKind[]).find((one) => ENTRY_KINDS[one] === bytes[1]);
  if (kind === undefined) throw malformed();
  if (bytes[0] === ENTRY_FORMATS.digest && bytes.length === 34) return { kind, columns: null };
  if (bytes[0] !== ENTRY_FORMATS.record) throw malformed();
  return { kind, columns: decodeRecord(kind, bytes.subarray(2)) };
}

/** The columns of a record, by name, each as PostgreSQL sends it in binary. Throws `invalid_argument`. */
export function decodeRecord(kind: EntryKind, record: Uint8Array): ReadonlyMap<string, Uint8Array | null> {
  return columnsOf(Buffer.from(record.buffer, record.byteOffset, record.length), ENTRY_COLUMNS[kind]);
}

/** record_send: the count of columns, and of each its type's OID, its length (-1 for null) and its bytes. */
function columnsOf(record: Buffer, names: readonly string[]): Map<string, Uint8Array | null> {
  const columns = new Map<string, Uint8Array | null>();
  if (record.length < 4 || record.readInt32BE(0) !== names.length) throw malformed();
  let at = 4;
  for (const name of names) {
    if (record.length < at + 8) throw malformed();
    const length = record.readInt32BE(at + 4);
    at += 8;
    const end = at + Math.max(0, length);
    if (length < -1 || end > record.length) throw malformed();
    columns.set(name, length === -1 ? null : record.subarray(at, end));
    at = end;
  }
  if (at !== record.length) throw malformed();
  return columns;
}

function malformed(): CarnetError {
  return new CarnetError('invalid_argument', 'this is not an entry of the log');
}
