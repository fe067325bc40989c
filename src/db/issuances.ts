import type { Issuance } from '../audit/issuance.ts';
import { CarnetError } from '../errors.ts';
import { CopyEncoder } from './copy-encoder.ts';
import type { Queryable } from './database.ts';

const COPIED_COLUMNS = [
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
];
const COPY = `COPY issuance (${COPIED_COLUMNS.join(', ')}) FROM STDIN (FORMAT binary)`;
/** All of a row but its certificate, roughly. */
const ROW_SIZE_BYTES = 1024;

/** To which instance, and on which node, a certificate was issued, by its serial (lower-case hex); undefined for none. */
export async function findIssuedTo(
  database: Queryable,
  serial: string,
): Promise<{ instance: string | null; node: string | null } | undefined> {
  const [row] = await database.query<{ instance: string | null; node: string | null }>(
    `SELECT instance, node FROM issuance WHERE serial = decode($1, 'hex') AND profile = 'x509-svid' LIMIT 1`,
    [serial],
  );
  return row;
}

/**
 * Inserts the batch, all or nothing. COPY in binary is the cheapest way for both sides: with 64 rows a commit it
 * takes Node 22 µs and PostgreSQL 39 µs of CPU time a row, a prepared multi-row INSERT 34 and 43, one from
 * unnest of arrays 30 and 47.
 *
 * Throws `invalid_argument` for a batch with a row that can't be recorded.
 */
export async function insertIssuances(database: Queryable, batch: readonly Issuance[]): Promise<void> {
  const size = batch.reduce((sum, { certificate }) => sum + certificate.length + ROW_SIZE_BYTES, 0);
  const encoder = new CopyEncoder(size);
  for (const issuance of batch) encodeRow(encoder, issuance);
  await database.copyIn(COPY, encoder.finish());
}

function encodeRow(encoder: CopyEncoder, issuance: Issuance): void {
  try {
    encodeFields(encoder, issuance);
  } catch (error) {
    throw new CarnetError('invalid_argument', `issuance ${issuance.serial} cannot be recorded: ${error}`, {
      cause: error,
    });
  }
}

function encodeFields(encoder: CopyEncoder, issuance: Issuance): void {
  encoder.row(COPIED_COLUMNS.length);
  encoder.timestamp(issuance.notBefore);
  encoder.timestamp(issuance.notAfter);
  encoder.integer(issuance.entryVersion);
  encoder.bytes(Buffer.from(issuance.serial, 'hex'));
  encoder.text(issuance.profile);
  encoder.text(issuance.identity);
  encoder.textArray(issuance.dnsNames);
  encoder.text(issuance.authority);
  encoder.bytes(issuance.publicKeySha256);
  encoder.bytes(issuance.certificateSha256);
  encoder.bytes(issuance.certificate);
  encoder.text(issuance.node);
  encoder.text(issuance.instance);
  encoder.text(issuance.evidence && JSON.stringify(issuance.evidence));
  encoder.text(issuance.entryId);
  encoder.text(issuance.requester);
}
