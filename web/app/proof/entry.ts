import { toHex } from './bytes.ts';

/** What an entry of the log says of an issuance, in the words of `GET /v1/issuances/{serial}`. */
export interface LoggedIssuance {
  /** By name, as JSON has them; times as microseconds since 1970. */
  readonly fields: ReadonlyMap<string, unknown>;
  /** DER; of a JWT-SVID its signing input. */
  readonly certificate: Uint8Array<ArrayBuffer>;
}

const RECORD = 1;
const ISSUANCE = 1;
/** 2000-01-01, where PostgreSQL's times begin, in microseconds since 1970. */
const EPOCH_MICROS = 946_684_800_000_000n;
/** Of an array of one dimension: dimensions, a flag, the elements' type, how many, and from which index on. */
const ARRAY_HEADER_BYTES = 20;

type Read = (bytes: Uint8Array<ArrayBuffer>) => unknown;

const text: Read = (bytes) => new TextDecoder('utf-8', { fatal: true }).decode(bytes);
const time: Read = (bytes) => view(bytes).getBigInt64(0) + EPOCH_MICROS;
const whole: Read = (bytes) => view(bytes).getInt32(0);
const unread: Read = () => undefined;

/** An issuance's columns, all of them and in this order (docs/AUDIT.md, "An entry, byte by byte"): name and reading. */
const COLUMNS: readonly (readonly [name: string, read: Read])[] = [
  ['id', unread],
  ['xact', unread],
  ['recorded_at', time],
  ['not_before', time],
  ['not_after', time],
  ['entry_version', whole],
  ['serial', toHex],
  ['profile', text],
  ['identity', text],
  ['dns_names', texts],
  ['authority', text],
  ['public_key_sha256', toHex],
  ['certificate_sha256', toHex],
  ['certificate', unread],
  ['node', text],
  ['instance', text],
  ['evidence', (bytes) => JSON.parse(String(text(bytes)))],
  ['entry', text],
  ['requester', text],
];

/** Reads an entry; null for one that is not of an issuance, has only its digest, or is malformed. */
export function decodeIssuance(entry: Uint8Array<ArrayBuffer>): LoggedIssuance | null {
  try {
    if (entry[0] !== RECORD || entry[1] !== ISSUANCE) return null;
    return decodeRecord(entry.slice(2));
  } catch {
    return null;
  }
}

/** What `record_send` makes: a count, and of each column its type's OID, its length (-1 for null) and its bytes. */
function decodeRecord(record: Uint8Array<ArrayBuffer>): LoggedIssuance | null {
  const fields = new Map<string, unknown>();
  let certificate: Uint8Array<ArrayBuffer> | null = null;
  if (view(record).getInt32(0) !== COLUMNS.length) return null;
  let at = 4;
  for (const [name, read] of COLUMNS) {
    const length = view(record).getInt32(at + 4);
    at += 8;
    const end = at + Math.max(0, length);
    if (length < -1 || end > record.length) return null;
    const value = length === -1 ? null : record.slice(at, end);
    if (name === 'certificate') certificate = value;
    else if (read !== unread) fields.set(name, value === null ? null : read(value));
    at = end;
  }
  return at === record.length && certificate !== null ? { fields, certificate } : null;
}

/** `text[]`: after its header, each element after its length. */
function texts(bytes: Uint8Array<ArrayBuffer>): unknown {
  const found: unknown[] = [];
  for (let at = ARRAY_HEADER_BYTES; at < bytes.length; ) {
    const end = at + 4 + view(bytes).getInt32(at);
    found.push(text(bytes.slice(at + 4, end)));
    at = end;
  }
  return found;
}

function view(bytes: Uint8Array<ArrayBuffer>): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
