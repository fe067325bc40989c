import { toHex } from '../x509/bytes.ts';
import { timestampOf } from './cursor.ts';
import type { Issuance } from './issuance.ts';
import type { EntryKind } from './log/entry.ts';
import type { OperatorEvent } from './operator-event.ts';

/** What an issuance's line says of it: all but the certificate itself and the evidence. */
export type IssuanceSummary = Omit<Issuance, 'certificate' | 'evidence'>;

/** A revocation as it is on record. */
export interface RevocationRecord {
  /** Lower-case hex, 32 digits. */
  readonly serial: string;
  readonly authority: string;
  /** When the certificate would have ended. */
  readonly notAfter: Date;
  readonly reasonCode: string;
  readonly reason: string;
  readonly actor: string;
  /** The denial that it follows from; null for an authority's own certificate. */
  readonly denialId: number | null;
}

interface Row<K extends EntryKind, R> {
  readonly kind: K;
  /** Null where the row is gone: dropped with an old partition, or taken away. */
  readonly row: R | null;
}

/** One entry of the log, and the row that it stands for. */
export type LogRecord = {
  readonly leafIndex: number;
  readonly leafHash: Uint8Array;
  /** Microseconds since the epoch, by the database's clock. */
  readonly recordedAtMicros: bigint;
} & (
  | Row<'issuance', IssuanceSummary>
  | Row<'revocation', RevocationRecord>
  | Row<'operator_event', OperatorEvent>
);

/**
 * A record as one line of JSON, without its end of line: what is exported and what is forwarded are the same to the
 * byte. In ASCII, whatever the names in it are written in: no receiver can take its encoding for another one.
 */
export function encodeLogRecord(record: LogRecord): string {
  return toAscii(JSON.stringify(logRecordFields(record)));
}

/** The fields of the line, in their order. */
export function logRecordFields(record: LogRecord): Record<string, unknown> {
  return {
    leaf_index: record.leafIndex,
    leaf_hash: toHex(record.leafHash),
    kind: record.kind,
    recorded_at: timestampOf(record.recordedAtMicros),
    ...(record.row === null ? { missing: true } : rowFields(record)),
  };
}

function rowFields(record: LogRecord): Record<string, unknown> {
  if (record.row === null) return {};
  if (record.kind === 'issuance') return issuanceFields(record.row);
  if (record.kind === 'revocation') {
    const { serial, authority, notAfter, reasonCode, reason, actor, denialId } = record.row;
    const ends = { not_after: notAfter.toISOString() };
    return { serial, authority, ...ends, reason_code: reasonCode, reason, actor, denial: denialId };
  }
  const { actor, action, subject, before, after, reason } = record.row;
  return { actor, action, subject, before, after, reason };
}

/** An issuance as lists and lines have it, but for the time of recording. */
export function issuanceFields(issuance: IssuanceSummary) {
  return {
    serial: issuance.serial,
    identity: issuance.identity,
    dns_names: [...issuance.dnsNames],
    profile: issuance.profile,
    not_before: issuance.notBefore.toISOString(),
    not_after: issuance.notAfter.toISOString(),
    authority: issuance.authority,
    node: issuance.node,
    instance: issuance.instance,
    entry: issuance.entryId,
    entry_version: issuance.entryVersion,
    requester: issuance.requester,
    public_key_sha256: toHex(issuance.publicKeySha256),
    certificate_sha256: toHex(issuance.certificateSha256),
  };
}

/** JSON may have any character by its number (RFC 8259 §7). */
export function toAscii(json: string): string {
  return json.replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
