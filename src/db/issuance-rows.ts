import type { RecordedIssuance } from '../audit/query.ts';

/** A row of issuance as pg parses it, with the time to the microsecond. */
export interface IssuanceRow {
  id: string;
  recorded_at_micros: string;
  not_before: Date;
  not_after: Date;
  entry_version: number | null;
  serial: Buffer;
  profile: string;
  identity: string;
  dns_names: string[];
  authority_id: string;
  public_key_sha256: Buffer;
  certificate_sha256: Buffer;
  certificate: Buffer;
  node: string | null;
  instance: string | null;
  evidence: Record<string, unknown> | null;
  entry_id: string | null;
  requester: string;
}

/** The columns of an {@link IssuanceRow}. */
export const ISSUANCE_COLUMNS = `
  issuance.id, (extract(epoch FROM issuance.recorded_at) * 1000000)::bigint AS recorded_at_micros, not_before, not_after,
  entry_version, issuance.serial, profile, identity, dns_names, issuance.authority_id, public_key_sha256,
  certificate_sha256, certificate, node, instance, evidence, entry_id, requester`;

export function issuanceOf(row: IssuanceRow): RecordedIssuance {
  return {
    serial: row.serial.toString('hex'),
    profile: row.profile,
    identity: row.identity,
    dnsNames: row.dns_names,
    notBefore: row.not_before,
    notAfter: row.not_after,
    authority: row.authority_id,
    publicKeySha256: row.public_key_sha256,
    certificateSha256: row.certificate_sha256,
    certificate: row.certificate,
    node: row.node,
    instance: row.instance,
    evidence: row.evidence,
    entryId: row.entry_id,
    entryVersion: row.entry_version,
    requester: row.requester,
    recordedAtMicros: BigInt(row.recorded_at_micros),
  };
}
