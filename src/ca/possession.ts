import { constants, verify } from 'node:crypto';
import { CarnetError } from '../errors.ts';
import { parseCsr } from '../x509/csr.ts';
import { type PublicKey, parsePublicKey } from '../x509/public-key.ts';

/** A key and a proof that its holder has the private half, from a protocol that asks for keys without PKCS#10. */
export interface PossessionProof {
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array;
  /** What was signed: must name the request, so that the proof fits no other. */
  readonly signed: Uint8Array;
  /** By SHA-256: of ECDSA the DER form, of RSA by PSS. */
  readonly signature: Uint8Array;
}

/**
 * The key of a PKCS#10 request (DER) or of a proof, once its holder has proved to have the private half. Throws
 * `csr_malformed`, `key_unsupported`, `key_weak`, `proof_of_possession_failed`, `der_malformed`.
 */
export async function proveKey(asked: Uint8Array | PossessionProof): Promise<PublicKey> {
  if (asked instanceof Uint8Array) return parseCsr(asked);
  const publicKey = parsePublicKey(asked.spki);
  const { key, kind } = publicKey;
  const padding =
    kind === 'rsa'
      ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_AUTO }
      : {};
  const digest = kind === 'ed25519' ? null : 'sha256';
  if (!verify(digest, asked.signed, { key, ...padding }, asked.signature))
    throw new CarnetError(
      'proof_of_possession_failed',
      'the proof is not signed by the private key of the public key beside it',
    );
  return publicKey;
}
