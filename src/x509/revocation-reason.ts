/**
 * Why a certificate is revoked, by the names and numbers of RFC 5280 §5.3.1. Left out: `certificateHold` and
 * `removeFromCRL`, for what is revoked stays so, and `aACompromise`, for we sign no attribute certificates.
 */
export const REVOCATION_REASONS = {
  unspecified: 0,
  keyCompromise: 1,
  cACompromise: 2,
  affiliationChanged: 3,
  superseded: 4,
  cessationOfOperation: 5,
  privilegeWithdrawn: 9,
} as const;

export type RevocationReason = keyof typeof REVOCATION_REASONS;

export function isRevocationReason(text: string): text is RevocationReason {
  return Object.hasOwn(REVOCATION_REASONS, text);
}

/** The reason with this number; undefined for any that we don't give. */
export function revocationReasonOf(code: number): RevocationReason | undefined {
  return NAMES.find((name) => REVOCATION_REASONS[name] === code);
}

const NAMES = Object.keys(REVOCATION_REASONS).filter(isRevocationReason);
