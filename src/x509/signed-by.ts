import { errorCodeOf } from '../errors.ts';
import type { Certificate } from './certificate.ts';
import { parsePublicKey } from './public-key.ts';
import { findSignatureAlgorithm, verifySignature } from './signature-algorithm.ts';

/**
 * Whether a certificate's signature is by the issuer's key (RFC 5280 §6.1.3 (a)(1)); false too for a key or an
 * algorithm that we do not take. Names and everything else are the caller's to compare.
 */
export async function isSignedBy(certificate: Certificate, issuer: Certificate): Promise<boolean> {
  const algorithm = findSignatureAlgorithm(certificate.outerSignatureAlgorithm);
  if (algorithm === undefined) return false;
  try {
    const key = parsePublicKey(issuer.spki);
    return await verifySignature(algorithm, key, certificate.tbs, certificate.signature);
  } catch (error) {
    // A key that we do not take verifies nothing.
    if (errorCodeOf(error) === 'internal') throw error;
    return false;
  }
}
