import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { CarnetError } from '../errors.ts';
import type { KeyEncryptionKey } from './key-encryption-key.ts';

/**
 * A sealed private key is
 *
 *     magic "CKS" | version 1 | key-encryption key's ID, 8 | nonce, 12 | ciphertext | tag, 16
 *
 * by AES-256-GCM, with everything before the nonce and the authority's ID as additional data: a sealed key
 * opens under no other key-encryption key and for no other authority. Nonces are random; a key-encryption key
 * seals far fewer keys than the 2^32 for which that is safe (NIST SP 800-38D §8.3).
 */
const CIPHER = 'aes-256-gcm';
const MAGIC = Buffer.from('CKS\x01', 'latin1');
const ID_BYTES = 8;
const HEADER_BYTES = MAGIC.length + ID_BYTES;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** Seals a private key (PKCS#8, DER) of the authority `authorityId`. */
export function sealKey(kek: KeyEncryptionKey, authorityId: string, pkcs8: Uint8Array): Uint8Array {
  const header = Buffer.concat([MAGIC, Buffer.from(kek.id, 'hex')]);
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, kek.key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(additionalData(header, authorityId));
  return Buffer.concat([header, nonce, cipher.update(pkcs8), cipher.final(), cipher.getAuthTag()]);
}

/** The private key (PKCS#8, DER) within `sealed`: overwrite it after use. Throws `key_unseal_failed`. */
export function unsealKey(kek: KeyEncryptionKey, authorityId: string, sealed: Uint8Array): Buffer {
  const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
  if (!hasHeader(bytes)) throw failed(authorityId, 'it is not in a format that this version reads');
  const header = bytes.subarray(0, HEADER_BYTES);
  const under = header.toString('hex', MAGIC.length);
  if (under !== kek.id)
    throw failed(authorityId, `it is sealed under key-encryption key ${under}, but ${kek.id} was given`);
  const nonce = bytes.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES);
  const decipher = createDecipheriv(CIPHER, kek.key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(additionalData(header, authorityId));
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
  try {
    return Buffer.concat([
      decipher.update(bytes.subarray(HEADER_BYTES + NONCE_BYTES, -TAG_BYTES)),
      decipher.final(),
    ]);
  } catch {
    throw failed(authorityId, 'it was changed, or belongs to another authority');
  }
}

/** The ID of the key-encryption key that a key is sealed under; null for what is no sealed key. */
export function sealedUnder(sealed: Uint8Array): string | null {
  const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
  return hasHeader(bytes) ? bytes.toString('hex', MAGIC.length, HEADER_BYTES) : null;
}

function hasHeader(bytes: Buffer): boolean {
  return (
    bytes.length > HEADER_BYTES + NONCE_BYTES + TAG_BYTES && bytes.subarray(0, MAGIC.length).equals(MAGIC)
  );
}

function additionalData(header: Uint8Array, authorityId: string): Buffer {
  return Buffer.concat([header, Buffer.from(authorityId, 'utf8')]);
}

function failed(authorityId: string, why: string): CarnetError {
  return new CarnetError(
    'key_unseal_failed',
    `the key of authority ${authorityId} cannot be unsealed: ${why}`,
  );
}
