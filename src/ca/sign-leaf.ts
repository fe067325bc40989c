import { parseCertificate } from '../x509/certificate.ts';
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
import type { LeafProfile } from './profile.ts';

/** An authority made ready to sign leaves of one profile: what does not change from leaf to leaf, done once. */
export interface LeafIssuer {
  readonly authority: SigningAuthority;
  readonly issuer: Issuer;
  readonly template: LeafTemplate;
}

export function leafIssuer(authority: SigningAuthority, profile: LeafProfile): LeafIssuer {
  const certificate = parseCertificate(authority.certificate);
  return {
    authority,
    issuer: { certificate, publicKey: parsePublicKey(certificate.spki) },
    template: leafTemplate(profile, certificate, authority.signer.signatureAlgorithm),
  };
}

/** Builds, signs and lints a leaf: DER that is fit to be recorded. Throws `certificate_lint_failed`. */
export async function signLeaf(by: LeafIssuer, leaf: LeafFields): Promise<Uint8Array> {
  const tbs = encodeTbs(by.template, leaf);
  const signature = await by.authority.signer.sign(tbs);
  const certificate = encodeCertificate(by.template, tbs, signature);
  await lintLeaf(certificate, { ...leaf, issuer: by.issuer });
  return certificate;
}
