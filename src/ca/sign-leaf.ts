import { parseCertificate } from '../x509/certificate.ts';
import type { IssuerLocations } from '../x509/issuer-locations.ts';
import {
  encodeCertificate,
  encodeTbs,
  type LeafFields,
  type LeafTemplate,
  leafTemplate,
} from '../x509/leaf.ts';
import type { Issuer } from '../x509/lint.ts';
import { lintLeaf } from '../x509/lint-leaf.ts';
import { parsePublicKey } from '../x509/public-key.ts';
import type { SigningAuthority } from './authority.ts';
import { issuerLocations } from './issuer-locations.ts';
import type { LeafProfile } from './profile.ts';

/** An authority made ready to sign leaves of one profile: what does not change from leaf to leaf, done once. */
export interface LeafIssuer {
  readonly authority: SigningAuthority;
  readonly issuer: Issuer;
  readonly locations: IssuerLocations | null;
  readonly template: LeafTemplate;
}

/** `publicUrl` is where the REST interface is seen from outside; null for nowhere. */
export function leafIssuer(
  authority: SigningAuthority,
  profile: LeafProfile,
  publicUrl: string | null = null,
): LeafIssuer {
  const certificate = parseCertificate(authority.certificate);
  const locations = issuerLocations(profile, publicUrl, authority.id);
  return {
    authority,
    issuer: { certificate, publicKey: parsePublicKey(certificate.spki) },
    locations,
    template: leafTemplate(profile, certificate, authority.signer.signatureAlgorithm, locations),
  };
}

/** Builds, signs and lints a leaf: DER that is fit to be recorded. Throws `certificate_lint_failed`. */
export async function signLeaf(by: LeafIssuer, leaf: LeafFields): Promise<Uint8Array> {
  const tbs = encodeTbs(by.template, leaf);
  const signature = await by.authority.signer.sign(tbs);
  const certificate = encodeCertificate(by.template, tbs, signature);
  await lintLeaf(certificate, { ...leaf, issuer: by.issuer, locations: by.locations });
  return certificate;
}
