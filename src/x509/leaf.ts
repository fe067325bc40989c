import { concatBytes } from './bytes.ts';
import type { Certificate } from './certificate.ts';
import { contextPrimitive, TAG } from './der-tag.ts';
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
} from './der-writer.ts';
import { encodeIssuerLocations, type IssuerLocations } from './issuer-locations.ts';
import { type KeyUsage, keyUsageBits } from './key-usage.ts';
import { OID } from './oid.ts';
import { encodeTime } from './time.ts';

/** What every leaf of one profile under one authority has in common, encoded once. */
export interface LeafTemplate {
  /** AlgorithmIdentifier of the authority's signatures, DER. */
  readonly signatureAlgorithm: Uint8Array;
  /** The authority's subject, DER, byte for byte. */
  readonly issuer: Uint8Array;
  /** The extensions that do not depend on the leaf, DER, one behind the other. */
  readonly extensions: Uint8Array;
}

/** What is the leaf's own. */
export interface LeafFields {
  /** Big-endian; 16 random octets. */
  readonly serial: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  readonly subjectKeyIdentifier: Uint8Array;
  readonly spiffeId: string;
  readonly dnsNames: readonly string[];
}

const VERSION_3 = explicit(0, Uint8Array.of(0x02, 0x01, 0x02));
const EMPTY_NAME = sequence();
const ID = {
  keyUsage: objectIdentifier(OID.keyUsage),
  extKeyUsage: objectIdentifier(OID.extKeyUsage),
  basicConstraints: objectIdentifier(OID.basicConstraints),
  authorityKeyIdentifier: objectIdentifier(OID.authorityKeyIdentifier),
  subjectKeyIdentifier: objectIdentifier(OID.subjectKeyIdentifier),
  subjectAltName: objectIdentifier(OID.subjectAltName),
};
const URI = contextPrimitive(6);
const DNS_NAME = contextPrimitive(2);

/**
 * Encodes what is constant. `issuer` must have a subject key identifier; `extKeyUsage` are dotted OIDs; without
 * `locations` a leaf does not say where anything of its issuer is.
 */
export function leafTemplate(
  profile: { readonly keyUsage: readonly KeyUsage[]; readonly extKeyUsage: readonly string[] },
  issuer: Certificate,
  signatureAlgorithm: Uint8Array,
  locations: IssuerLocations | null,
): LeafTemplate {
  const issuerKeyIdentifier = issuer.subjectKeyIdentifier?.value ?? new Uint8Array();
  return {
    signatureAlgorithm,
    issuer: issuer.subject,
    extensions: concatBytes(
      sequence(ID.keyUsage, TRUE, octetString(namedBits(keyUsageBits(profile.keyUsage)))),
      sequence(ID.extKeyUsage, octetString(sequence(...profile.extKeyUsage.map(objectIdentifier)))),
      // RFC 5280 §4.2.1.9: cA is FALSE by default, and DER leaves a default out.
      sequence(ID.basicConstraints, TRUE, octetString(sequence())),
      sequence(
        ID.authorityKeyIdentifier,
        octetString(sequence(element(contextPrimitive(0), issuerKeyIdentifier))),
      ),
      ...(locations === null ? [] : encodeIssuerLocations(locations)),
    ),
  };
}

/** The leaf's TBSCertificate (RFC 5280 §4.1), DER, with an empty subject and so a critical SAN (X509-SVID §3.1). */
export function encodeTbs(template: LeafTemplate, leaf: LeafFields): Uint8Array {
  return sequence(
    VERSION_3,
    unsignedInteger(leaf.serial),
    template.signatureAlgorithm,
    template.issuer,
    sequence(encodeTime(leaf.notBefore), encodeTime(leaf.notAfter)),
    EMPTY_NAME,
    leaf.spki,
    explicit(
      3,
      sequence(
        template.extensions,
        sequence(ID.subjectKeyIdentifier, octetString(element(TAG.octetString, leaf.subjectKeyIdentifier))),
        sequence(ID.subjectAltName, TRUE, octetString(generalNames(leaf))),
      ),
    ),
  );
}

/** The Certificate (RFC 5280 §4.1), DER, of a TBSCertificate and the contents of its signature's BIT STRING. */
export function encodeCertificate(
  template: LeafTemplate,
  tbs: Uint8Array,
  signature: Uint8Array,
): Uint8Array {
  return sequence(tbs, template.signatureAlgorithm, bitString(signature));
}

function generalNames(leaf: LeafFields): Uint8Array {
  return sequence(
    asciiString(URI, leaf.spiffeId),
    ...leaf.dnsNames.map((name) => asciiString(DNS_NAME, name)),
  );
}
