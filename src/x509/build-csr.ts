import { type KeyObject, sign } from 'node:crypto';
import { bitString, explicit, sequence } from './der-writer.ts';
import type { KeyKind } from './public-key.ts';
import { signatureAlgorithmFor } from './signature-algorithm.ts';

const VERSION_1 = Uint8Array.of(0x02, 0x01, 0x00);
const EMPTY_SUBJECT = sequence();
const NO_ATTRIBUTES = explicit(0);

/**
 * A PKCS#10 request (RFC 2986 §4), DER, that says nothing but the key: empty subject, no attributes. What the
 * certificate will say is policy's word, not the request's. `kind` must be the key pair's.
 */
export function buildCsr(
  keyPair: { privateKey: KeyObject; publicKey: KeyObject },
  kind: KeyKind = 'ec-p256',
): Uint8Array {
  const spki = keyPair.publicKey.export({ format: 'der', type: 'spki' });
  const algorithm = signatureAlgorithmFor(kind);
  const info = sequence(VERSION_1, EMPTY_SUBJECT, spki, NO_ATTRIBUTES);
  const signature = sign(algorithm.digest, info, keyPair.privateKey);
  return sequence(info, algorithm.der, bitString(signature));
}
