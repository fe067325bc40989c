import type { webcrypto } from 'node:crypto';

/** The key types that a CA may have, by the names of the command line. */
export const KEY_ALGORITHMS = ['ec-p256', 'ec-p384', 'rsa-2048', 'rsa-3072', 'rsa-4096', 'ed25519'] as const;
export type KeyAlgorithm = (typeof KEY_ALGORITHMS)[number];

/** A CA's private key: the seam where a hardware module plugs in. The key itself never crosses it. */
export interface Signer {
  readonly algorithm: KeyAlgorithm;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array;
  /** The DER of the signatureAlgorithm AlgorithmIdentifier that `sign` makes (RFC 5280 §4.1.1.2). */
  readonly signatureAlgorithm: Uint8Array;
  /** Signs a TBSCertificate (DER) and returns the contents of the signatureValue BIT STRING. */
  sign(tbs: Uint8Array): Promise<Uint8Array>;
  /** The same key for what `@peculiar/x509` signs: CA certificates and the like. */
  cryptoKey(): Promise<SigningCryptoKey>;
}

/** A private key that cannot be extracted, and the WebCrypto provider that holds it. */
export interface SigningCryptoKey {
  readonly provider: webcrypto.Crypto;
  readonly privateKey: webcrypto.CryptoKey;
}
