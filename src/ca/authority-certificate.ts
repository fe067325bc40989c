// Loads reflect-metadata, which @peculiar/x509 needs first.
import './provider.ts';
import {
  AuthorityInfoAccessExtension,
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  CRLDistributionPointsExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  Name,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import { toHex } from '../x509/bytes.ts';
import type { Certificate } from '../x509/certificate.ts';
import type { IssuerLocations } from '../x509/issuer-locations.ts';
import { type AuthorityProfile, authoritySubject } from './profile.ts';
import { WEB_CRYPTO_ALGORITHM } from './provider.ts';
import type { Signer } from './signer.ts';

/** What is a CA certificate's own; the rest is its profile's. */
export interface AuthorityFields {
  readonly profile: AuthorityProfile;
  readonly trustDomain: TrustDomain;
  readonly serial: Uint8Array;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  readonly subjectKeyIdentifier: Uint8Array;
  /** Tells this key's name from all others'. */
  readonly keyName: string;
  /** Null where it does not say. */
  readonly locations: IssuerLocations | null;
}

/**
 * Builds a CA certificate and signs it by `signer`'s CryptoKey. `issuer` is the signer's certificate, null for
 * one that signs itself. Returns DER, not yet linted.
 */
export async function signAuthorityCertificate(
  fields: AuthorityFields,
  issuer: Certificate | null,
  signer: Signer,
): Promise<Uint8Array> {
  const { profile, trustDomain } = fields;
  const subject = new Name(authoritySubject(profile, trustDomain, fields.keyName));
  const issuerKeyIdentifier = issuer?.subjectKeyIdentifier?.value ?? fields.subjectKeyIdentifier;
  const { provider, privateKey } = await signer.cryptoKey();
  const certificate = await X509CertificateGenerator.create(
    {
      serialNumber: toHex(fields.serial),
      subject,
      issuer: issuer === null ? subject : new Name(issuer.subject),
      notBefore: fields.notBefore,
      notAfter: fields.notAfter,
      publicKey: fields.spki,
      signingKey: privateKey,
      signingAlgorithm: WEB_CRYPTO_ALGORITHM[signer.algorithm],
      extensions: [
        new BasicConstraintsExtension(true, profile.pathLength ?? undefined, true),
        new KeyUsagesExtension(
          profile.keyUsage.reduce((flags, usage) => flags | KeyUsageFlags[usage], 0),
          true,
        ),
        new SubjectKeyIdentifierExtension(toHex(fields.subjectKeyIdentifier)),
        new AuthorityKeyIdentifierExtension(toHex(issuerKeyIdentifier)),
        new SubjectAlternativeNameExtension([{ type: 'url', value: `spiffe://${trustDomain}` }]),
        ...locationExtensions(fields.locations),
      ],
    },
    provider,
  );
  return new Uint8Array(certificate.rawData);
}

function locationExtensions(locations: IssuerLocations | null): Extension[] {
  if (locations === null) return [];
  return [
    new AuthorityInfoAccessExtension({ caIssuers: locations.certificate }),
    new CRLDistributionPointsExtension([locations.crl]),
  ];
}
