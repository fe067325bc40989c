import { CarnetError } from '../errors.ts';
import { equalBytes } from './bytes.ts';
import { type Certificate, type Marked, parseCertificate } from './certificate.ts';
import type { IssuerLocations } from './issuer-locations.ts';
import type { PublicKey } from './public-key.ts';
import type { Locations } from './read-locations.ts';
import { serialHex, withoutLeadingZeros } from './serial.ts';
import { findSignatureAlgorithm, verifySignature } from './signature-algorithm.ts';

/** One MUST of a certificate: what it says, with its section, and whether a certificate keeps it. */
export interface Rule<E> {
  readonly says: string;
  holds(certificate: Certificate, expected: E): boolean;
}

/** What any certificate of ours was meant to be. */
export interface Expected {
  /** Big-endian magnitude. */
  readonly serial: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  readonly subjectKeyIdentifier: Uint8Array;
  readonly issuer: Issuer;
  /** Null where it must not say. */
  readonly locations: IssuerLocations | null;
}

/** Who signs: its certificate (of a root, its own) and the key in it. */
export interface Issuer {
  readonly certificate: Certificate;
  readonly publicKey: PublicKey;
}

/** RFC 5280 §4.1.2.2: a positive serial of at most 20 octets. */
const MAX_SERIAL_OCTETS = 20;

/** What holds for every certificate, leaf or CA. */
export const COMMON_RULES: readonly Rule<Expected>[] = [
  {
    says: 'RFC 5280 §4.1.2.2: the serial is positive, not zero, and at most 20 octets',
    holds: ({ serial }) =>
      serial.length <= MAX_SERIAL_OCTETS && (serial[0] ?? 0) < 0x80 && withoutLeadingZeros(serial).length > 0,
  },
  {
    says: 'the serial is the random number that was drawn',
    holds: ({ serial }, expected) =>
      equalBytes(withoutLeadingZeros(serial), withoutLeadingZeros(expected.serial)),
  },
  {
    says: 'RFC 5280 §4.1.1.2: both signature algorithm fields are the same',
    holds: (certificate) => equalBytes(certificate.signatureAlgorithm, certificate.outerSignatureAlgorithm),
  },
  {
    says: "RFC 5280 §4.1.2.4: the issuer is the issuer's subject, byte for byte",
    holds: ({ issuer }, expected) => equalBytes(issuer, expected.issuer.certificate.subject),
  },
  {
    says: 'RFC 5280 §4.1.2.5: the validity is what was decided, and does not end before it begins',
    holds: ({ notBefore, notAfter }, expected) =>
      notBefore <= notAfter &&
      notBefore.getTime() === expected.notBefore.getTime() &&
      notAfter.getTime() === expected.notAfter.getTime(),
  },
  {
    says: "the validity lies within the issuer's",
    holds: ({ notBefore, notAfter }, { issuer }) =>
      notBefore >= issuer.certificate.notBefore && notAfter <= issuer.certificate.notAfter,
  },
  {
    says: 'RFC 5280 §4.1.2.7: the public key is the one that was proved',
    holds: ({ spki }, expected) => equalBytes(spki, expected.spki),
  },
  {
    says: "RFC 5280 §4.2.1.1: the authority key identifier is the issuer's subject key identifier, not critical",
    holds: ({ authorityKeyIdentifier }, { issuer }) =>
      identifies(authorityKeyIdentifier, issuer.certificate.subjectKeyIdentifier?.value),
  },
  {
    says: "RFC 5280 §4.2.1.2: the subject key identifier is the key's, not critical",
    holds: ({ subjectKeyIdentifier }, expected) =>
      identifies(subjectKeyIdentifier, expected.subjectKeyIdentifier),
  },
  {
    says: "RFC 5280 §4.2.2.1: the authority information access is where the issuer's certificate is, or is not there",
    holds: ({ authorityInfoAccess }, { locations }) => locates(authorityInfoAccess, locations?.certificate),
  },
  {
    says: "RFC 5280 §4.2.1.13: the CRL distribution points are where the issuer's CRL is, or are not there",
    holds: ({ crlDistributionPoints }, { locations }) => locates(crlDistributionPoints, locations?.crl),
  },
  {
    says: 'RFC 5280 §4.2: no extension appears twice',
    holds: ({ extensions }) => new Set(extensions).size === extensions.length,
  },
];

/**
 * Parses `der` and holds it against `rules` and its issuer's signature; returns it parsed. Throws
 * `certificate_lint_failed` with everything that was found wrong.
 */
export async function lint<E extends Expected>(
  der: Uint8Array,
  rules: readonly Rule<E>[],
  expected: E,
): Promise<Certificate> {
  const certificate = parse(der);
  const broken = rules.filter((rule) => !rule.holds(certificate, expected)).map((rule) => rule.says);
  if (!(await signatureHolds(certificate, expected.issuer.publicKey)))
    broken.push("RFC 5280 §4.1.1.3: the signature is the issuer's");
  if (broken.length > 0)
    throw new CarnetError(
      'certificate_lint_failed',
      `certificate ${serialHex(certificate.serial)} was made wrongly and is not released; it breaks: ${broken.join('; ')}`,
    );
  return certificate;
}

/** A signer can be faulty, or be another than its certificate says: nothing leaves that does not verify. */
async function signatureHolds(certificate: Certificate, issuerKey: PublicKey): Promise<boolean> {
  const algorithm = findSignatureAlgorithm(certificate.outerSignatureAlgorithm);
  if (algorithm === undefined) return false;
  return verifySignature(algorithm, issuerKey, certificate.tbs, certificate.signature);
}

function parse(der: Uint8Array): Certificate {
  try {
    return parseCertificate(der);
  } catch (cause) {
    throw new CarnetError('certificate_lint_failed', 'a certificate was made that cannot be parsed', {
      cause,
    });
  }
}

function identifies(found: Marked<Uint8Array> | undefined, identifier: Uint8Array | undefined): boolean {
  if (found === undefined || identifier === undefined) return false;
  return !found.critical && identifier.length > 0 && equalBytes(found.value, identifier);
}

function locates(found: Marked<Locations> | undefined, url: string | undefined): boolean {
  if (found === undefined || url === undefined) return found === undefined && url === undefined;
  const { uris, others } = found.value;
  return !found.critical && others === 0 && uris.length === 1 && uris[0] === url;
}
