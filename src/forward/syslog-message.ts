import { timestampOf } from '../audit/cursor.ts';
import { type LogRecord, logRecordFields, toAscii } from '../audit/log-record.ts';

/** Whose messages they are. */
export interface SyslogOrigin {
  /** Of the machine that sends them. */
  readonly host: string;
  readonly pid: number;
  /** The log's name. */
  readonly log: string;
}

/** RFC 5424 §6.2.1: 13 is "log audit". */
const FACILITY = 13;
const SEVERITIES = { issuance: 6, revocation: 5, operator_event: 5 } as const satisfies Record<
  LogRecord['kind'],
  number
>;
/** 32473 is the number that documentation may use (RFC 5612): we have none of our own. */
const SD_ID = 'carnet@32473';
/** What every receiver should take (RFC 5425 §4.3.1); many cut what is longer, which would end in the middle of JSON. */
const MAX_MESSAGE_BYTES = 8192;
/** In a record that is too long, whatever is longer than this is left out. */
const MAX_SHORT_FIELD = 256;

/**
 * The record as one syslog message (RFC 5424), in ASCII: its key fields as structured data, and as the message its line.
 * Of a record that would not fit into 8,192 bytes the long fields are left out, and `shortened` says so.
 */
export function encodeSyslogMessage(record: LogRecord, line: string, origin: SyslogOrigin): string {
  const head = `${header(record, origin)} ${structuredData(record, origin)} `;
  return head + (head.length + line.length <= MAX_MESSAGE_BYTES ? line : shortened(record));
}

/** A message in its frame (RFC 5425 §4.3): octet counting. */
export function frameSyslogMessage(message: string): string {
  return `${message.length} ${message}`;
}

function header({ kind, recordedAtMicros }: LogRecord, { host, pid }: SyslogOrigin): string {
  const priority = FACILITY * 8 + SEVERITIES[kind];
  return `<${priority}>1 ${timestampOf(recordedAtMicros)} ${printUsAscii(host, 255)} carnet ${pid} ${kind}`;
}

function structuredData(record: LogRecord, { log }: SyslogOrigin): string {
  const { leaf_index, leaf_hash } = logRecordFields(record);
  const parameters = { log, leaf_index, leaf_hash, ...keyFields(record) };
  const given = Object.entries(parameters).filter(([, value]) => value !== null);
  return `[${SD_ID} ${given.map(([name, value]) => `${name}="${parameterValue(String(value))}"`).join(' ')}]`;
}

function keyFields(record: LogRecord): Record<string, string | null> {
  if (record.row === null) return {};
  if (record.kind === 'operator_event') {
    const { actor, action, subject } = record.row;
    return { actor, action, subject };
  }
  if (record.kind === 'revocation') return { serial: record.row.serial, actor: record.row.actor };
  const { serial, identity, node, requester } = record.row;
  return { serial, identity, node, requester };
}

function shortened(record: LogRecord): string {
  const short = Object.entries(logRecordFields(record)).filter(
    ([, value]) => toAscii(JSON.stringify(value)).length <= MAX_SHORT_FIELD,
  );
  return toAscii(JSON.stringify({ ...Object.fromEntries(short), shortened: true }));
}

/** §6.3.3: quotation mark, backslash and closing bracket are escaped. The whole value is in the message. */
function parameterValue(value: string): string {
  return value
    .slice(0, MAX_SHORT_FIELD)
    .replace(/[^\x20-\x7e]/g, '?')
    .replace(/["\\\]]/g, '\\$&');
}

function printUsAscii(text: string, maxCharacters: number): string {
  return text.replace(/[^\x21-\x7e]/g, '-').slice(0, maxCharacters) || '-';
}
