import { contextConstructed, contextPrimitive } from './der-tag.ts';
import { asciiString, element, objectIdentifier, octetString, sequence } from './der-writer.ts';
import { OID } from './oid.ts';

/** Where verifiers fetch what they need of a certificate's issuer: ASCII URLs of plain HTTP. */
export interface IssuerLocations {
  /** Of the issuer's certificate, DER (RFC 5280 §4.2.2.1, caIssuers). */
  readonly certificate: string;
  /** Of its CRL, DER (RFC 5280 §4.2.1.13). */
  readonly crl: string;
}

const URI = contextPrimitive(6);

/** Both extensions, DER, one behind the other; neither is critical. */
export function encodeIssuerLocations({ certificate, crl }: IssuerLocations): Uint8Array[] {
  const description = sequence(objectIdentifier(OID.caIssuers), asciiString(URI, certificate));
  // distributionPoint [0] EXPLICIT, because it is a CHOICE; its fullName [0] IMPLICIT GeneralNames.
  const point = sequence(
    element(contextConstructed(0), element(contextConstructed(0), asciiString(URI, crl))),
  );
  return [
    sequence(objectIdentifier(OID.authorityInfoAccess), octetString(sequence(description))),
    sequence(objectIdentifier(OID.crlDistributionPoints), octetString(sequence(point))),
  ];
}
