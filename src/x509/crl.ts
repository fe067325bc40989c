import { CarnetError } from '../errors.ts';
import { DerReader } from './der-reader.ts';
import { contextConstructed, contextPrimitive, TAG } from './der-tag.ts';
import {
  bitString,
  element,
  explicit,
  objectIdentifier,
  octetString,
  sequence,
  unsignedInteger,
} from './der-writer.ts';
import { OID } from './oid.ts';
import { REVOCATION_REASONS, type RevocationReason, revocationReasonOf } from './revocation-reason.ts';
import { serialHex } from './serial.ts';
import { encodeTime, readTime } from './time.ts';

/** One revoked certificate (RFC 5280 §5.1.2.6). */
export interface CrlEntry {
  /** 32 digits of lower-case hex. */
  readonly serial: string;
  readonly revokedAt: Date;
  readonly reason: RevocationReason;
}

/** What a CRL says of itself and of others (RFC 5280 §5.1.2). */
export interface CrlFields {
  /** AlgorithmIdentifier, DER. */
  readonly signatureAlgorithm: Uint8Array;
  /** The CA's subject, DER, byte for byte. */
  readonly issuer: Uint8Array;
  /** The CA's subject key identifier. */
  readonly authorityKeyIdentifier: Uint8Array;
  /** CRL number (§5.2.3), from 1. */
  readonly number: number;
  readonly thisUpdate: Date;
  readonly nextUpdate: Date;
  /** In any order; each serial once. */
  readonly entries: readonly CrlEntry[];
}

/** A version 2 CRL as it was read: well-formed, its signature not judged. All bytes are views. */
export interface Crl extends CrlFields {
  /** TBSCertList, whole: what the signature covers. */
  readonly tbs: Uint8Array;
  /** The AlgorithmIdentifier beside it, which must be the same. */
  readonly outerSignatureAlgorithm: Uint8Array;
  /** The contents of the signatureValue BIT STRING. */
  readonly signature: Uint8Array;
}

const VERSION_2 = Uint8Array.of(TAG.integer, 1, 1);
const ENUMERATED = 0x0a;
const KEY_IDENTIFIER = contextPrimitive(0);
const ID = {
  authorityKeyIdentifier: objectIdentifier(OID.authorityKeyIdentifier),
  crlNumber: objectIdentifier(OID.crlNumber),
  reasonCode: objectIdentifier(OID.reasonCode),
};

/** The TBSCertList (RFC 5280 §5.1), DER; its entries by serial. */
export function encodeTbsCertList(fields: CrlFields): Uint8Array {
  const entries = [...fields.entries].sort((a, b) => (a.serial < b.serial ? -1 : 1)).map(encodeEntry);
  return sequence(
    VERSION_2,
    fields.signatureAlgorithm,
    fields.issuer,
    encodeTime(fields.thisUpdate),
    encodeTime(fields.nextUpdate),
    // §5.1.2.6: when nothing is revoked the list MUST be absent.
    ...(entries.length === 0 ? [] : [sequence(...entries)]),
    explicit(
      0,
      sequence(
        sequence(
          ID.authorityKeyIdentifier,
          octetString(sequence(element(KEY_IDENTIFIER, fields.authorityKeyIdentifier))),
        ),
        sequence(ID.crlNumber, octetString(unsignedInteger(bigEndian(fields.number)))),
      ),
    ),
  );
}

/** The CertificateList (RFC 5280 §5.1), DER, of a TBSCertList and the contents of its signature's BIT STRING. */
export function encodeCrl(
  signatureAlgorithm: Uint8Array,
  tbs: Uint8Array,
  signature: Uint8Array,
): Uint8Array {
  return sequence(tbs, signatureAlgorithm, bitString(signature));
}

/**
 * §5.3.1: no reason code rather than `unspecified`; and then no extensions, for BoringSSL refuses an empty list of
 * them.
 */
function encodeEntry({ serial, revokedAt, reason }: CrlEntry): Uint8Array {
  const code = REVOCATION_REASONS[reason];
  return sequence(
    unsignedInteger(Buffer.from(serial, 'hex')),
    encodeTime(revokedAt),
    ...(code === 0
      ? []
      : [sequence(sequence(ID.reasonCode, octetString(element(ENUMERATED, Uint8Array.of(code)))))]),
  );
}

/** A whole number in 8 octets. */
function bigEndian(number: number): Uint8Array {
  const octets = Buffer.alloc(8);
  octets.writeBigUInt64BE(BigInt(number));
  return octets;
}

/**
 * Parses a CRL as we make them, DER: version 2, an authority key identifier and a CRL number and nothing critical,
 * entries with at most a reason code. Throws `der_malformed`.
 */
export function parseCrl(der: Uint8Array): Crl {
  const outer = new DerReader(der);
  const list = outer.enter(TAG.sequence);
  outer.end();
  const tbs = list.element(TAG.sequence);
  const outerSignatureAlgorithm = list.element(TAG.sequence);
  const signature = list.bitStringOctets();
  list.end();
  return { tbs, outerSignatureAlgorithm, signature, ...readTbsCertList(tbs) };
}

/** The issuer's name alone, DER: cheap, however long the CRL is. Throws `der_malformed`. */
export function crlIssuer(der: Uint8Array): Uint8Array {
  const fields = new DerReader(der).enter(TAG.sequence).enter(TAG.sequence);
  readVersion(fields);
  fields.skip();
  return fields.element(TAG.sequence);
}

function readTbsCertList(tbs: Uint8Array): CrlFields {
  const fields = new DerReader(tbs).enter(TAG.sequence);
  readVersion(fields);
  const signatureAlgorithm = fields.element(TAG.sequence);
  const issuer = fields.element(TAG.sequence);
  const thisUpdate = readTime(fields);
  const nextUpdate = readTime(fields);
  const entries = fields.nextIs(TAG.sequence) ? readEntries(fields.enter(TAG.sequence)) : [];
  const extensions = readExtensions(fields.enter(contextConstructed(0)));
  fields.end();
  return { signatureAlgorithm, issuer, thisUpdate, nextUpdate, entries, ...extensions };
}

function readVersion(fields: DerReader): void {
  if (fields.smallInteger() !== 1) throw new CarnetError('der_malformed', 'the CRL is not of version 2');
}

function readEntries(list: DerReader): CrlEntry[] {
  if (list.done) throw new CarnetError('der_malformed', 'the CRL has a list of entries without an entry');
  const entries: CrlEntry[] = [];
  while (!list.done) {
    const entry = list.enter(TAG.sequence);
    const serial = serialHex(entry.unsigned());
    const revokedAt = readTime(entry);
    const reason = entry.done ? 'unspecified' : readReason(entry);
    entry.end();
    entries.push({ serial, revokedAt, reason });
  }
  return entries;
}

function readReason(entry: DerReader): RevocationReason {
  const extensions = entry.enter(TAG.sequence);
  const value = readExtension(extensions, OID.reasonCode);
  extensions.end();
  const [code = 0, ...others] = value.contents(ENUMERATED);
  value.end();
  const reason = others.length === 0 && code !== 0 ? revocationReasonOf(code) : undefined;
  if (reason === undefined)
    throw new CarnetError(
      'der_malformed',
      `the CRL has an entry with reason code ${code}, which we never give`,
    );
  return reason;
}

function readExtensions(list: DerReader): Pick<CrlFields, 'authorityKeyIdentifier' | 'number'> {
  const extensions = list.enter(TAG.sequence);
  list.end();
  const keyValue = readExtension(extensions, OID.authorityKeyIdentifier);
  const key = keyValue.enter(TAG.sequence);
  const authorityKeyIdentifier = key.contents(KEY_IDENTIFIER);
  key.end();
  keyValue.end();
  const numberValue = readExtension(extensions, OID.crlNumber);
  const number = Number(`0x0${Buffer.from(numberValue.unsigned()).toString('hex')}`);
  numberValue.end();
  extensions.end();
  if (!Number.isSafeInteger(number))
    throw new CarnetError('der_malformed', 'the CRL has a number of 2^53 or more');
  return { authorityKeyIdentifier, number };
}

/** The value of the next extension, which must be this one and not critical. */
function readExtension(extensions: DerReader, id: string): DerReader {
  const extension = extensions.enter(TAG.sequence);
  const found = extension.objectIdentifier();
  if (found !== id)
    throw new CarnetError('der_malformed', `the CRL has extension ${found} where ${id} belongs`);
  const value = extension.enter(TAG.octetString);
  extension.end();
  return value;
}
