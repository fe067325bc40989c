import { sign } from 'node:crypto';
import { contextConstructed, contextPrimitive, TAG } from '../../src/x509/der-tag.ts';
import {
  asciiString,
  bitString,
  element,
  explicit,
  namedBits,
  objectIdentifier,
  octetString,
  sequence,
  TRUE,
  unsignedInteger,
} from '../../src/x509/der-writer.ts';
import { KEY_USAGE } from '../../src/x509/key-usage.ts';
import { OID } from '../../src/x509/oid.ts';
import { keyIdentifier, parsePublicKey } from '../../src/x509/public-key.ts';
import { SIGNATURE_ALGORITHMS } from '../../src/x509/signature-algorithm.ts';
import { encodeTime } from '../../src/x509/time.ts';
import { generateKeys, type KeyPair, spkiOf } from './keys.ts';

/** Written apart from src/x509/leaf.ts on purpose: what the lint is tried on must not come from the encoder. */
export const NOT_BEFORE = new Date('2026-03-01T12:00:00Z');
export const NOT_AFTER = new Date('2026-03-01T13:00:00Z');
export const SERIAL = Buffer.from('f0e1d2c3b4a5968778695a4b3c2d1e0f', 'hex');
export const SPIFFE_ID = 'spiffe://carnet.test/ns/default/sa/web';
export const TRUST_DOMAIN_ID = 'spiffe://carnet.test';

export const ISSUER_KEYS: KeyPair = generateKeys('ec-p256');
export const SUBJECT_KEYS: KeyPair = generateKeys('ec-p256');
export const ISSUER_NAME: Uint8Array = name('Carnet issuing CA 01234567');

export function name(common: string): Uint8Array {
  return sequence(setOf(sequence(objectIdentifier('2.5.4.3'), asciiString(TAG.printableString, common))));
}

export function keyIdentifierOf(keys: KeyPair): Uint8Array {
  return keyIdentifier(parsePublicKey(spkiOf(keys)).octets);
}

/** A SET OF one element. */
export function setOf(part: Uint8Array): Uint8Array {
  return element(TAG.set, part);
}

/** An extension's value, DER, and whether it is critical. */
export type ExtensionValue = readonly [critical: boolean, value: Uint8Array];

/** Extensions by their names in {@link OID}, or by OID. Null leaves one out. */
export type Extensions = Readonly<Record<string, ExtensionValue | null>>;

export interface CertificateParts {
  version: Uint8Array;
  serial: Uint8Array;
  innerAlgorithm: Uint8Array;
  outerAlgorithm: Uint8Array;
  issuer: Uint8Array;
  validity: Uint8Array;
  subject: Uint8Array;
  spki: Uint8Array;
  extensions: Extensions;
  /** Behind the others, raw. */
  moreExtensions: Uint8Array;
  signingKeys: KeyPair;
}

const DEFAULTS: CertificateParts = {
  version: explicit(0, Uint8Array.of(2, 1, 2)),
  serial: unsignedInteger(SERIAL),
  innerAlgorithm: SIGNATURE_ALGORITHMS.ecdsaWithSha256.der,
  outerAlgorithm: SIGNATURE_ALGORITHMS.ecdsaWithSha256.der,
  issuer: ISSUER_NAME,
  validity: sequence(encodeTime(NOT_BEFORE), encodeTime(NOT_AFTER)),
  subject: sequence(),
  spki: spkiOf(SUBJECT_KEYS),
  extensions: {},
  moreExtensions: new Uint8Array(),
  signingKeys: ISSUER_KEYS,
};

export const LEAF_EXTENSIONS: Extensions = {
  keyUsage: keyUsage(KEY_USAGE.digitalSignature),
  extKeyUsage: [false, purposes(OID.serverAuth, OID.clientAuth)],
  basicConstraints: [true, sequence()],
  authorityKeyIdentifier: authorityKeyIdentifier(keyIdentifierOf(ISSUER_KEYS)),
  subjectKeyIdentifier: [false, element(TAG.octetString, keyIdentifierOf(SUBJECT_KEYS))],
  subjectAltName: [true, sequence(uri(SPIFFE_ID), dns('web.internal'))],
};

/** A good leaf but for the changes: signed as it is, so that nothing else breaks. */
export function leafWith(changes: Partial<CertificateParts> = {}): Uint8Array {
  return certificate({ ...changes, extensions: { ...LEAF_EXTENSIONS, ...changes.extensions } });
}

export const CA_EXTENSIONS: Extensions = {
  keyUsage: keyUsage(KEY_USAGE.keyCertSign | KEY_USAGE.cRLSign),
  basicConstraints: [true, sequence(TRUE, Uint8Array.of(2, 1, 0))],
  authorityKeyIdentifier: authorityKeyIdentifier(keyIdentifierOf(ISSUER_KEYS)),
  subjectKeyIdentifier: [false, element(TAG.octetString, keyIdentifierOf(SUBJECT_KEYS))],
  subjectAltName: [false, sequence(uri(TRUST_DOMAIN_ID))],
};

/** A good issuing CA but for the changes. */
export function authorityWith(changes: Partial<CertificateParts> = {}): Uint8Array {
  return certificate({
    subject: name('Carnet issuing CA 89abcdef'),
    ...changes,
    extensions: { ...CA_EXTENSIONS, ...changes.extensions },
  });
}

export function certificate(changes: Partial<CertificateParts>): Uint8Array {
  const parts = { ...DEFAULTS, ...changes };
  const extensions = Object.entries(parts.extensions).flatMap(([id, extension]) =>
    extension === null ? [] : [encodeExtension(id, extension)],
  );
  const tbs = sequence(
    parts.version,
    parts.serial,
    parts.innerAlgorithm,
    parts.issuer,
    parts.validity,
    parts.subject,
    parts.spki,
    explicit(3, sequence(...extensions, parts.moreExtensions)),
  );
  return sequence(tbs, parts.outerAlgorithm, bitString(sign('sha256', tbs, parts.signingKeys.privateKey)));
}

/** The extension's SEQUENCE; `id` is a name in {@link OID} or dotted. */
export function encodeExtension(id: string, [critical, value]: ExtensionValue): Uint8Array {
  const oid = id in OID ? OID[id as keyof typeof OID] : id;
  return sequence(objectIdentifier(oid), critical ? TRUE : new Uint8Array(), octetString(value));
}

export function keyUsage(bits: number, critical = true): ExtensionValue {
  return [critical, namedBits(bits)];
}

export function authorityKeyIdentifier(identifier: Uint8Array): ExtensionValue {
  return [false, sequence(element(contextPrimitive(0), identifier))];
}

export function purposes(...oids: readonly string[]): Uint8Array {
  return sequence(...oids.map(objectIdentifier));
}

export function uri(text: string): Uint8Array {
  return asciiString(contextPrimitive(6), text);
}

export function dns(text: string): Uint8Array {
  return asciiString(contextPrimitive(2), text);
}

export function ip(...octets: readonly number[]): Uint8Array {
  return element(contextPrimitive(7), Uint8Array.from(octets));
}

/** An AuthorityInfoAccessSyntax of one description (RFC 5280 §4.2.2.1). */
export function accessDescription(method: string, location: Uint8Array): Uint8Array {
  return sequence(sequence(objectIdentifier(method), location));
}

/** CRLDistributionPoints of one point with these full names, and what else it says. */
export function distributionPoint(names: readonly Uint8Array[], ...more: readonly Uint8Array[]): Uint8Array {
  return sequence(sequence(explicit(0, element(contextConstructed(0), ...names)), ...more));
}
