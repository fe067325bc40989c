// @peculiar/x509 and @peculiar/webcrypto register their parts by decorators, which need this first.
import 'reflect-metadata';
import type { webcrypto } from 'node:crypto';
import { Crypto } from '@peculiar/webcrypto';
import type { KeyAlgorithm, SigningCryptoKey } from './signer.ts';

/** WebCrypto's names for our key algorithms, with the hash that each signs with. */
export const WEB_CRYPTO_ALGORITHM = {
  'ec-p256': { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' },
  'ec-p384': { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' },
  'rsa-2048': { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  'rsa-3072': { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  'rsa-4096': { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' },
  ed25519: { name: 'Ed25519' },
} as const satisfies Record<KeyAlgorithm, { name: string; namedCurve?: string; hash?: string }>;

/** The WebCrypto provider of keys in software; a hardware module's signer comes with its own. */
const softwareProvider = new Crypto() as webcrypto.Crypto;

/** A private key (PKCS#8, DER) as a CryptoKey that signs and cannot be extracted. */
export async function importSigningKey(
  algorithm: KeyAlgorithm,
  pkcs8: Uint8Array,
): Promise<SigningCryptoKey> {
  const privateKey = await softwareProvider.subtle.importKey(
    'pkcs8',
    pkcs8,
    WEB_CRYPTO_ALGORITHM[algorithm],
    false,
    ['sign'],
  );
  return { provider: softwareProvider, privateKey };
}

/** A CryptoKey for what `@peculiar/x509` signs, whose signatures `sign` makes, in WebCrypto's encoding. */
export function signingKeyElsewhere(
  algorithm: KeyAlgorithm,
  sign: (data: Uint8Array) => Promise<Uint8Array>,
): SigningCryptoKey {
  const privateKey: webcrypto.CryptoKey = {
    type: 'private',
    extractable: false,
    usages: ['sign'],
    algorithm: WEB_CRYPTO_ALGORITHM[algorithm],
  };
  // Nothing but `sign` is asked of a provider by those who hold a key of it.
  const subtle = {
    sign: async (_algorithm: unknown, _key: unknown, data: ArrayBuffer) => sign(new Uint8Array(data)),
  };
  return { provider: { subtle } as unknown as webcrypto.Crypto, privateKey };
}
