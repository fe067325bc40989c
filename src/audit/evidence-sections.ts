import { z } from 'zod';
import { JWT_SVID } from '../ca/profile.ts';
import { formatDuration } from '../duration.ts';
import { CarnetError } from '../errors.ts';
import { toHex } from '../x509/bytes.ts';
import { timestampOf } from './cursor.ts';
import { decodeTexts, decodeTimestamp } from './log/record-values.ts';

type Columns = ReadonlyMap<string, Uint8Array | null>;

/** The entry of an issuance, in the words of the REST API. */
export function readIssuance(columns: Columns) {
  const { bytes, text, nullableText, hex, time } = readerOf(columns);
  const isToken = text('profile') === JWT_SVID.name;
  const evidence = nullableText('evidence');
  return {
    serial: hex('serial'),
    identity: text('identity'),
    dns_names: decodeTexts(bytes('dns_names')),
    not_before: time('not_before'),
    not_after: time('not_after'),
    recorded_at: time('recorded_at'),
    profile: text('profile'),
    authority: text('authority_id'),
    node: nullableText('node'),
    instance: nullableText('instance'),
    entry: nullableText('entry_id'),
    entry_version: columns.get('entry_version') ? bytes('entry_version').readInt32BE() : null,
    requester: text('requester'),
    public_key_sha256: hex('public_key_sha256'),
    certificate_sha256: hex('certificate_sha256'),
    certificate: isToken ? null : pemOf(bytes('certificate')),
    token: isToken ? text('certificate') : null,
    evidence: evidence === null ? null : (JSON.parse(evidence) as Record<string, unknown>),
  };
}

/** What an operator event has of an entry that was written: db/entries.ts. Fields that came later may be missing. */
const WrittenEntry = z.object({
  id: z.string(),
  version: z.int(),
  spiffeId: z.string(),
  selectors: z.array(z.string()),
  dnsNames: z.array(z.string()),
  ttlSeconds: z.int().nullable(),
  hint: z.string().nullable().default(null),
  federatesWith: z.array(z.string()).default([]),
});
const WRITES: readonly string[] = ['entry.create', 'entry.update'];

/** The operator event by which a registration entry became what it says. Throws `conflict` for any other event. */
export function readRule(columns: Columns) {
  const { text, nullableText, time } = readerOf(columns);
  const written = WrittenEntry.safeParse(JSON.parse(nullableText('after') ?? 'null'));
  const action = text('action');
  if (!written.success || !WRITES.includes(action) || written.data.id !== text('subject'))
    throw new CarnetError('conflict', 'the operator event is not one that wrote a registration entry');
  const { id, version, spiffeId, selectors, dnsNames, ttlSeconds, hint, federatesWith } = written.data;
  return {
    id,
    version,
    spiffe_id: spiffeId,
    selectors,
    dns_names: dnsNames,
    ttl: ttlSeconds === null ? null : formatDuration(ttlSeconds),
    hint,
    federates_with: federatesWith,
    action,
    written_by: text('actor'),
    written_at: time('recorded_at'),
    reason: text('reason'),
  };
}

/** What the entry of a revocation tells, and of which serial. */
export function readRevocation(columns: Columns) {
  const { text, hex, time } = readerOf(columns);
  return {
    serial: hex('serial'),
    told: {
      revoked_at: time('revoked_at'),
      reason_code: text('reason_code'),
      reason: text('reason'),
      actor: text('actor'),
      authority: text('authority_id'),
    },
  };
}

/** Columns by name, as PostgreSQL sends them. Throws `conflict` where one is null that never is. */
function readerOf(columns: Columns) {
  const bytes = (name: string): Buffer => {
    const value = columns.get(name);
    if (value == null) throw new CarnetError('conflict', `the entry has no ${name}`);
    return Buffer.from(value.buffer, value.byteOffset, value.length);
  };
  const text = (name: string): string => bytes(name).toString('utf8');
  return {
    bytes,
    text,
    nullableText: (name: string): string | null => (columns.get(name) == null ? null : text(name)),
    hex: (name: string): string => toHex(bytes(name)),
    time: (name: string): string => timestampOf(decodeTimestamp(bytes(name))),
  };
}

function pemOf(der: Buffer): string {
  const lines = der.toString('base64').match(/.{1,64}/g);
  return `-----BEGIN CERTIFICATE-----\n${lines?.join('\n')}\n-----END CERTIFICATE-----\n`;
}
