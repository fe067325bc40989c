import { constants, hash, type KeyObject, sign, verify } from 'node:crypto';
import { CarnetError } from '../../errors.ts';
import type { TrustDomain } from '../../identity/spiffe-id.ts';
import type { KeyKind } from '../../x509/public-key.ts';

/**
 * Proof that a machine has the key of its certificate. The server asks with a nonce and its trust domain; the
 * machine answers with a nonce of its own and a signature over both, its certificate and our name for this use.
 *
 *     question   server nonce (32 bytes) || trust domain (UTF-8)
 *     answer     machine nonce (32 bytes) || signature
 *     signed     64 spaces || "carnet x509pop 1" || 00 || server nonce || machine nonce ||
 *                SHA-256 of the machine's certificate (DER) || trust domain (UTF-8)
 *
 * The spaces are where TLS 1.2 and older have the nonces of both sides, of which one is never of the asker's choice;
 * what follows them is not what TLS 1.3 writes there (RFC 8446 §4.4.3). So no signature for TLS answers us, and ours
 * serves in no handshake. The machine's nonce keeps the asker from choosing all that is signed.
 *
 * RSA signs by PSS with SHA-256 and a salt as long, P-256 by ECDSA with SHA-256, P-384 with SHA-384 (DER signatures),
 * Ed25519 by itself.
 */
export const NONCE_BYTES = 32;
const PADDING = Buffer.alloc(64, ' ');
const PURPOSE = Buffer.from('carnet x509pop 1\0', 'latin1');
/** Ours: RSA-8192 signs 1024 bytes. */
const MAX_SIGNATURE_BYTES = 1024;

/** A nonce of the server's for one attestation, and what it asks. */
export function questionOf(serverNonce: Uint8Array, trustDomain: TrustDomain): Uint8Array {
  return Buffer.concat([serverNonce, Buffer.from(trustDomain)]);
}

/** What the key of a machine's certificate is asked to sign by, and of which kind it is. */
export interface MachineKey {
  readonly key: KeyObject;
  readonly kind: KeyKind;
  /** DER. */
  readonly certificate: Uint8Array;
}

/**
 * The machine's answer. It is given to servers of its own trust domain only: another's could hand on a question of
 * ours. Throws `attestation_failed` for a question that isn't one of them. `machineNonce`: {@link NONCE_BYTES} random bytes.
 */
export function answerQuestion(
  question: Uint8Array,
  { key, kind, certificate }: MachineKey,
  trustDomain: TrustDomain,
  machineNonce: Uint8Array,
): Uint8Array {
  const asked = Buffer.from(question.subarray(NONCE_BYTES)).toString('utf8');
  if (question.length < NONCE_BYTES || asked !== trustDomain)
    throw new CarnetError(
      'attestation_failed',
      `x509pop: the server asks for another trust domain than ${trustDomain}`,
    );
  const signed = signedText(question.subarray(0, NONCE_BYTES), machineNonce, certificate, trustDomain);
  return Buffer.concat([machineNonce, sign(digestOf(kind), signed, { key, ...PSS })]);
}

/** Whether the answer is by the key of the certificate. Only `key` and `certificate` of the machine are public here. */
export function isAnswered(
  answer: Uint8Array,
  serverNonce: Uint8Array,
  { key, kind, certificate }: MachineKey,
  trustDomain: TrustDomain,
): boolean {
  const [machineNonce, signature] = [answer.subarray(0, NONCE_BYTES), answer.subarray(NONCE_BYTES)];
  if (signature.length === 0 || signature.length > MAX_SIGNATURE_BYTES) return false;
  const signed = signedText(serverNonce, machineNonce, certificate, trustDomain);
  return verify(digestOf(kind), signed, { key, ...PSS }, signature);
}

/** Only RSA keys heed it. */
const PSS = { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST };

function digestOf(kind: KeyKind): string | null {
  if (kind === 'ed25519') return null;
  return kind === 'ec-p384' ? 'sha384' : 'sha256';
}

function signedText(
  serverNonce: Uint8Array,
  machineNonce: Uint8Array,
  certificate: Uint8Array,
  trustDomain: TrustDomain,
): Uint8Array {
  return Buffer.concat([
    PADDING,
    PURPOSE,
    serverNonce,
    machineNonce,
    hash('sha256', certificate, 'buffer'),
    Buffer.from(trustDomain),
  ]);
}
