import { JWT_SVID } from '../ca/profile.ts';
import { toHex } from '../x509/bytes.ts';
import { encodePem } from '../x509/pem.ts';
import { toAscii } from './ascii-json.ts';
import {
  type ColumnValue,
  hexOf,
  integerOf,
  jsonOf,
  microsecondsOf,
  millisecondsOf,
  textOf,
  textsOf,
} from './column-values.ts';
import { decodeRecord, type EntryKind, encodeEntry } from './log/entry.ts';
import { type Hash, leafHashOf } from './log/merkle.ts';

export const EXPORT_FORMATS = ['ndjson', 'csv'] as const;
export type ExportFormat = (typeof EXPORT_FORMATS)[number];

/** What an export has of each record. */
export interface LineForm {
  readonly format: ExportFormat;
  /** Certificates, evidence and the bytes that the log's leaf hash is of, too. */
  readonly full: boolean;
}

/** A row of history, by its place in the log. */
export interface LoggedRecord {
  readonly index: number;
  readonly kind: EntryKind;
  /** What `record_send` made of it (docs/AUDIT.md, byte by byte). */
  readonly record: Uint8Array;
  readonly leafHash: Hash;
}

type Columns = ReadonlyMap<string, ColumnValue>;
type Fields = Readonly<Record<string, (columns: Columns) => unknown>>;

const of =
  (column: string, read: (value: ColumnValue) => unknown) =>
  (columns: Columns): unknown =>
    read(columns.get(column));

/** In the words of the REST interface, in the order of the columns of a CSV. */
const FIELDS = {
  issuance: {
    recorded_at: of('recorded_at', microsecondsOf),
    serial: of('serial', hexOf),
    identity: of('identity', textOf),
    dns_names: of('dns_names', textsOf),
    profile: of('profile', textOf),
    not_before: of('not_before', millisecondsOf),
    not_after: of('not_after', millisecondsOf),
    authority: of('authority_id', textOf),
    node: of('node', textOf),
    instance: of('instance', textOf),
    entry: of('entry_id', textOf),
    entry_version: of('entry_version', integerOf),
    requester: of('requester', textOf),
    public_key_sha256: of('public_key_sha256', hexOf),
    certificate_sha256: of('certificate_sha256', hexOf),
  },
  revocation: {
    recorded_at: of('revoked_at', microsecondsOf),
    serial: of('serial', hexOf),
    authority: of('authority_id', textOf),
    not_after: of('not_after', millisecondsOf),
    reason_code: of('reason_code', textOf),
    reason: of('reason', textOf),
    actor: of('actor', textOf),
    denial: of('denial_id', integerOf),
  },
  operator_event: {
    recorded_at: of('recorded_at', microsecondsOf),
    actor: of('actor', textOf),
    action: of('action', textOf),
    subject: of('subject', textOf),
    before: of('before', jsonOf),
    after: of('after', jsonOf),
    reason: of('reason', textOf),
  },
} as const satisfies Record<EntryKind, Fields>;

/** What only a full export has: PEM; of a JWT-SVID its signing input (RFC 7515 §5.1); what attestation saw. */
const FULL_FIELDS = {
  issuance: {
    certificate: (columns) => (isToken(columns) ? null : pemOf(columns.get('certificate'))),
    token: (columns) => (isToken(columns) ? textOf(columns.get('certificate')) : null),
    evidence: of('evidence', jsonOf),
  },
  revocation: {},
  operator_event: {},
} as const satisfies Record<EntryKind, Fields>;

/** What a spreadsheet would take for a formula, by its first character; the wide ones too. */
const FORMULA = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/;

/** How the lines of an export are written. */
export interface LineWriter {
  /** What comes before them, with its line end: the names of a CSV's columns, and nothing for NDJSON. */
  readonly header: string;
  /** One record, with its line end. Throws `invalid_argument` for one that is malformed. */
  line(logged: LoggedRecord): string;
}

/** `kinds` are those that the export can have: a CSV has columns for all of them. */
export function lineWriter(kinds: readonly EntryKind[], { format, full }: LineForm): LineWriter {
  const names = columnsOf(kinds, full);
  const line = ({ index, kind, record, leafHash: hash }: LoggedRecord): Record<string, unknown> => {
    const columns = decodeRecord(kind, record);
    const fields: Fields = full ? { ...FIELDS[kind], ...FULL_FIELDS[kind] } : FIELDS[kind];
    const said = Object.entries(fields).map(([name, read]) => [name, read(columns)]);
    const bytes = Buffer.from(record.buffer, record.byteOffset, record.length);
    return {
      leaf_index: index,
      leaf_hash: toHex(hash),
      kind,
      ...Object.fromEntries(said),
      ...(full ? { record: bytes.toString('base64') } : {}),
    };
  };
  if (format === 'ndjson')
    return { header: '', line: (logged) => `${toAscii(JSON.stringify(line(logged)))}\n` };
  return {
    header: csvLine(names),
    line: (logged) => {
      const said = line(logged);
      return csvLine(names.map((name) => said[name]));
    },
  };
}

/** What a line of a full export is made of again. Null for what is no such line. */
export function readFullLine(line: string, format: ExportFormat): LoggedRecord | null {
  const { leaf_index: index, kind, record } = format === 'csv' ? readCsv(line) : readJson(line);
  if (!isIndex(index) || !isKind(kind) || typeof record !== 'string') return null;
  const bytes = Buffer.from(record, 'base64');
  return { index, kind, record: bytes, leafHash: leafHashOf(encodeEntry(kind, bytes)) };
}

type Said = Partial<Record<'leaf_index' | 'kind' | 'record', unknown>>;

function readJson(line: string): Said {
  try {
    return { ...JSON.parse(line) };
  } catch {
    return {};
  }
}

/** The first three cells and the last hold nothing that is quoted. */
function readCsv(line: string): Said {
  const found = /^(\d{1,15}),[0-9a-f]{64},(\w+),.*,([A-Za-z0-9+/=]+)\r\n$/s.exec(line);
  return found === null ? {} : { leaf_index: Number(found[1]), kind: found[2], record: found[3] };
}

function isIndex(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isKind(value: unknown): value is EntryKind {
  return typeof value === 'string' && Object.hasOwn(FIELDS, value);
}

function columnsOf(kinds: readonly EntryKind[], full: boolean): string[] {
  const names = kinds.flatMap((kind) => Object.keys(FIELDS[kind]));
  const more = full ? [...kinds.flatMap((kind) => Object.keys(FULL_FIELDS[kind])), 'record'] : [];
  return [...new Set(['leaf_index', 'leaf_hash', 'kind', ...names, ...more])];
}

/** RFC 4180. */
function csvLine(values: readonly unknown[]): string {
  return `${values.map(cell).join(',')}\r\n`;
}

function cell(value: unknown): string {
  if (value == null) return '';
  if (typeof value === 'number') return String(value);
  const said =
    typeof value === 'string' ? value : Array.isArray(value) ? value.join(' ') : JSON.stringify(value);
  // An apostrophe keeps a spreadsheet from working it out (OWASP, CSV injection).
  const text = FORMULA.test(said) ? `'${said}` : said;
  // Where the comma is for decimals, spreadsheets take semicolons for the ends of cells, and some take tabs.
  return /[",;\t\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function isToken(columns: Columns): boolean {
  return textOf(columns.get('profile')) === JWT_SVID.name;
}

function pemOf(value: ColumnValue): string | null {
  return value == null ? null : encodePem('CERTIFICATE', value);
}
