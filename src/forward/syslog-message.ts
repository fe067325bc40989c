import { toAscii } from '../audit/ascii-json.ts';
import type { EntryKind } from '../audit/log/entry.ts';

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
  EntryKind,
  number
>;
/** 32473 is the number that documentation may use (RFC 5612): we have none of our own. */
const SD_ID = 'carnet@32473';
/** What every receiver should take (RFC 5425 §4.3.1); many cut what is longer, which would end in the middle of JSON. */
const MAX_MESSAGE_BYTES = 8192;
/** In a record that is too long, whatever is longer than this is left out. */
const MAX_SHORT_FIELD = 256;

/** What a line says, by its fields. */
type Fields = Readonly<Record<string, unknown>> & { readonly kind: EntryKind };

/** What is structured data as well, of whatever kind has it. */
const KEY_FIELDS = [
  'leaf_index',
  'leaf_hash',
  'serial',
  'identity',
  'node',
  'requester',
  'actor',
  'action',
  'subject',
] as const;

/**
 * A line as one syslog message (RFC 5424), in ASCII: its key fields as structured data, and as the message itself. Of a
 * line that would not fit into 8,192 bytes the long fields are left out, and `shortened` says so.
 */
export function encodeSyslogMessage(line: string, origin: SyslogOrigin): string {
  const fields = JSON.parse(line) as Fields;
  const head = `${header(fields, origin)} ${structuredData(fields, origin)} `;
  return head + (head.length + line.length <= MAX_MESSAGE_BYTES ? line : shortened(fields));
}

/** A message in its frame (RFC 5425 §4.3): octet counting. */
export function frameSyslogMessage(message: string): string {
  return `${message.length} ${message}`;
}

/** The time is that of recording; of a record that is gone it is not known. */
function header({ kind, recorded_at: time = '-' }: Fields, { host, pid }: SyslogOrigin): string {
  const priority = FACILITY * 8 + SEVERITIES[kind];
  return `<${priority}>1 ${time} ${printUsAscii(host, 255)} carnet ${pid} ${kind}`;
}

function structuredData(fields: Fields, { log }: SyslogOrigin): string {
  const said = KEY_FIELDS.map((name) => [name, fields[name] ?? null] as const);
  const given = [['log', log] as const, ...said].filter(([, value]) => value !== null);
  return `[${SD_ID} ${given.map(([name, value]) => `${name}="${parameterValue(String(value))}"`).join(' ')}]`;
}

function shortened(fields: Fields): string {
  const short = Object.entries(fields).filter(
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
