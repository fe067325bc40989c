import { CarnetError } from '../errors.ts';
import { DerReader } from './der-reader.ts';
import { contextConstructed, contextPrimitive, TAG } from './der-tag.ts';
import { OID } from './oid.ts';
import { type Locations, readCaIssuers, readDistributionPoints } from './read-locations.ts';
import { readTime } from './time.ts';

/** More than any certificate that we make or take. */
export const MAX_CERTIFICATE_BYTES = 64 * 1024;

/** An extension's decoded value and whether it was marked critical. */
export interface Marked<T> {
  readonly critical: boolean;
  readonly value: T;
}

export interface SubjectAltName {
  readonly uris: readonly string[];
  readonly dnsNames: readonly string[];
  /** How many names of other types there are. */
  readonly others: number;
}

export interface BasicConstraints {
  readonly ca: boolean;
  readonly pathLength: number | null;
}

/** A version 3 certificate (RFC 5280 §4.1) as it was read: well-formed, but not judged. All bytes are views. */
export interface Certificate {
  readonly der: Uint8Array;
  /** TBSCertificate, whole: what the signature covers. */
  readonly tbs: Uint8Array;
  /** The INTEGER's contents, two's complement. */
  readonly serial: Uint8Array;
  /** The AlgorithmIdentifier within the TBSCertificate, DER. */
  readonly signatureAlgorithm: Uint8Array;
  /** The AlgorithmIdentifier beside it, which must be the same. */
  readonly outerSignatureAlgorithm: Uint8Array;
  /** Names, DER. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  /** The OID of every extension, in order, with repeats. */
  readonly extensions: readonly string[];
  /** Of these, those that are marked critical: who doesn't know one must refuse the certificate (RFC 5280 §4.2). */
  readonly criticalExtensions: readonly string[];
  readonly keyUsage?: Marked<number>;
  readonly extKeyUsage?: Marked<readonly string[]>;
  readonly basicConstraints?: Marked<BasicConstraints>;
  readonly subjectAltName?: Marked<SubjectAltName>;
  readonly subjectKeyIdentifier?: Marked<Uint8Array>;
  /** The keyIdentifier; empty where the extension has none. */
  readonly authorityKeyIdentifier?: Marked<Uint8Array>;
  /** Where the issuer's certificate is. */
  readonly authorityInfoAccess?: Marked<Locations>;
  readonly crlDistributionPoints?: Marked<Locations>;
  /** The contents of the signatureValue BIT STRING. */
  readonly signature: Uint8Array;
}

type Decoded = Pick<
  Certificate,
  | 'keyUsage'
  | 'extKeyUsage'
  | 'basicConstraints'
  | 'subjectAltName'
  | 'subjectKeyIdentifier'
  | 'authorityKeyIdentifier'
  | 'authorityInfoAccess'
  | 'crlDistributionPoints'
>;

/** Whether a Name (DER) is an empty SEQUENCE. */
export function isEmptyName(name: Uint8Array): boolean {
  return name.length === 2;
}

/** Parses one certificate, DER. Throws `der_malformed`. */
export function parseCertificate(der: Uint8Array): Certificate {
  if (der.length > MAX_CERTIFICATE_BYTES)
    throw new CarnetError('der_malformed', `the certificate is larger than ${MAX_CERTIFICATE_BYTES} bytes`);
  const outer = new DerReader(der);
  const certificate = outer.enter(TAG.sequence);
  outer.end();
  const tbs = certificate.element(TAG.sequence);
  const outerSignatureAlgorithm = certificate.element(TAG.sequence);
  const signature = certificate.bitStringOctets();
  certificate.end();
  return { der, tbs, outerSignatureAlgorithm, signature, ...readTbs(tbs) };
}

function readTbs(
  tbs: Uint8Array,
): Omit<Certificate, 'der' | 'tbs' | 'outerSignatureAlgorithm' | 'signature'> {
  const fields = new DerReader(tbs).enter(TAG.sequence);
  const version = fields.enter(contextConstructed(0));
  if (version.smallInteger() !== 2)
    throw new CarnetError('der_malformed', 'the certificate is not of version 3');
  version.end();
  const serial = fields.integer();
  const signatureAlgorithm = fields.element(TAG.sequence);
  const issuer = fields.element(TAG.sequence);
  const validity = fields.enter(TAG.sequence);
  const notBefore = readTime(validity);
  const notAfter = readTime(validity);
  validity.end();
  const subject = fields.element(TAG.sequence);
  const spki = fields.element(TAG.sequence);
  // Unique identifiers ([1], [2]) have no place in the profile (RFC 5280 §4.1.2.8).
  const extensions = readExtensions(fields.enter(contextConstructed(3)));
  fields.end();
  return { serial, signatureAlgorithm, issuer, notBefore, notAfter, subject, spki, ...extensions };
}

type Extensions = Decoded & { extensions: string[]; criticalExtensions: string[] };

function readExtensions(explicit: DerReader): Extensions {
  const list = explicit.enter(TAG.sequence);
  explicit.end();
  const found: Extensions = { extensions: [], criticalExtensions: [] };
  while (!list.done) {
    const extension = list.enter(TAG.sequence);
    const id = extension.objectIdentifier();
    const critical = extension.nextIs(TAG.boolean) && readCritical(extension);
    const value = extension.enter(TAG.octetString);
    extension.end();
    found.extensions.push(id);
    if (critical) found.criticalExtensions.push(id);
    Object.assign(found, decodeExtension(id, critical, value));
  }
  return found;
}

/** `critical` is FALSE by default, and DER leaves a default out (X.690 §11.5). */
function readCritical(extension: DerReader): boolean {
  if (extension.boolean()) return true;
  throw new CarnetError(
    'der_malformed',
    'an extension says that it is not critical, which DER leaves unsaid',
  );
}

function decodeExtension(id: string, critical: boolean, value: DerReader): Decoded {
  switch (id) {
    case OID.keyUsage:
      return { keyUsage: { critical, value: whole(value, value.namedBits()) } };
    case OID.extKeyUsage:
      return { extKeyUsage: { critical, value: whole(value, readExtKeyUsage(value)) } };
    case OID.basicConstraints:
      return { basicConstraints: { critical, value: whole(value, readBasicConstraints(value)) } };
    case OID.subjectAltName:
      return { subjectAltName: { critical, value: whole(value, readSubjectAltName(value)) } };
    case OID.subjectKeyIdentifier:
      return { subjectKeyIdentifier: { critical, value: whole(value, value.contents(TAG.octetString)) } };
    case OID.authorityKeyIdentifier:
      return { authorityKeyIdentifier: { critical, value: whole(value, readAuthorityKeyIdentifier(value)) } };
    case OID.authorityInfoAccess:
      return { authorityInfoAccess: { critical, value: whole(value, readCaIssuers(value)) } };
    case OID.crlDistributionPoints:
      return { crlDistributionPoints: { critical, value: whole(value, readDistributionPoints(value)) } };
    default:
      return {};
  }
}

/** `read`, once nothing is left behind it. */
function whole<T>(value: DerReader, read: T): T {
  value.end();
  return read;
}

function readExtKeyUsage(value: DerReader): string[] {
  const list = value.enter(TAG.sequence);
  const purposes: string[] = [];
  while (!list.done) purposes.push(list.objectIdentifier());
  return purposes;
}

function readBasicConstraints(value: DerReader): BasicConstraints {
  const fields = value.enter(TAG.sequence);
  const ca = fields.nextIs(TAG.boolean) && readCritical(fields);
  const pathLength = fields.done ? null : fields.smallInteger();
  fields.end();
  return { ca, pathLength };
}

function readSubjectAltName(value: DerReader): SubjectAltName {
  const names = value.enter(TAG.sequence);
  const uris: string[] = [];
  const dnsNames: string[] = [];
  let others = 0;
  while (!names.done) {
    if (names.nextIs(URI)) uris.push(readText(names, URI));
    else if (names.nextIs(DNS_NAME)) dnsNames.push(readText(names, DNS_NAME));
    else {
      names.skip();
      others++;
    }
  }
  return { uris, dnsNames, others };
}

const URI = contextPrimitive(6);
const DNS_NAME = contextPrimitive(2);

/** An IA5String (RFC 5280 §4.2.1.6): seven bits a character. */
function readText(names: DerReader, tag: number): string {
  const octets = names.contents(tag);
  for (const octet of octets)
    if (octet >= 0x80) throw new CarnetError('der_malformed', 'an alternative name that is not ASCII');
  return Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength).toString('latin1');
}

function readAuthorityKeyIdentifier(value: DerReader): Uint8Array {
  const fields = value.enter(TAG.sequence);
  const KEY_IDENTIFIER = contextPrimitive(0);
  const identifier = fields.nextIs(KEY_IDENTIFIER) ? fields.contents(KEY_IDENTIFIER) : new Uint8Array();
  while (!fields.done) fields.skip();
  return identifier;
}
