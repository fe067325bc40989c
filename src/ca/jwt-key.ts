import { createPublicKey } from 'node:crypto';
import { CarnetError } from '../errors.ts';
import { type JwsAlgorithm, signingAlgorithmOf, verifyJws } from '../identity/jws-algorithm.ts';
import { toHex } from '../x509/bytes.ts';
import { ecdsaSignatureOf } from '../x509/ecdsa-signature.ts';
import { keyIdentifier, parsePublicKey } from '../x509/public-key.ts';
import type { AuthorityState } from './authority.ts';
import type { KeptKey, KeyStore } from './key-store.ts';
import type { Lifetime } from './profile.ts';
import type { KeyAlgorithm, Signer } from './signer.ts';

/** Key types that can sign JWT-SVIDs, by the names of the command line: ES256, ES384 and RS256 (JWT-SVID §2.1). */
export const JWT_KEY_ALGORITHMS = ['ec-p256', 'ec-p384', 'rsa-2048', 'rsa-3072', 'rsa-4096'] as const;
export type JwtKeyAlgorithm = (typeof JWT_KEY_ALGORITHMS)[number];

/** How long a key may sign. */
export const JWT_KEY_LIFETIME: Lifetime = { minSeconds: 10, maxSeconds: 365 * 86_400 };

/** An authority that signs JWT-SVIDs, without its private half: it has no certificate, bundles hold the bare key. */
export interface JwtKey {
  /** `jwt-<8 hex>`, of its key identifier; the `kid` of its tokens. */
  readonly id: string;
  readonly kind: 'jwt';
  readonly state: AuthorityState;
  readonly keyAlgorithm: KeyAlgorithm;
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array;
  readonly notBefore: Date;
  /** No token of it lives longer. */
  readonly notAfter: Date;
}

/** A key as it is first stored. */
export type NewJwtKey = JwtKey & KeptKey;

export interface StoredJwtKey extends NewJwtKey {
  /** Sequence of the first bundle that had it; null before. */
  readonly publishedSequence: number | null;
  readonly createdAt: Date;
  readonly stateSince: Date;
}

/** A key whose private half is at hand. */
export interface SigningJwtKey extends JwtKey {
  readonly algorithm: JwsAlgorithm;
  /** Signs a signing input, and returns the signature as JWS has it (RFC 7518 §3.3, §3.4). */
  sign(input: Uint8Array): Promise<Uint8Array>;
}

export interface JwtKeyRequest {
  readonly keyAlgorithm: JwtKeyAlgorithm;
  readonly ttlSeconds: number;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** Makes a key in `keys`, `prepared`, which has signed once and was verified. Throws what `keys.generate` throws. */
export async function createJwtKey(request: JwtKeyRequest, keys: KeyStore): Promise<NewJwtKey> {
  const { keyAlgorithm, ttlSeconds, now } = request;
  const key = await keys.generate(keyAlgorithm);
  try {
    const { publicKey } = key.signer;
    const id = `jwt-${toHex(keyIdentifier(parsePublicKey(publicKey).octets).subarray(0, 4))}`;
    const begin = Math.floor(now / 1000) * 1000;
    const life = { notBefore: new Date(begin), notAfter: new Date(begin + ttlSeconds * 1000) };
    const made = { id, kind: 'jwt', state: 'prepared', keyAlgorithm, publicKey, ...life } as const;
    await trySigning(signingKey(made, key.signer));
    return { ...made, ...(await key.keep(id)) };
  } catch (error) {
    await key.discard();
    throw error;
  }
}

/** A key with its private half at hand. Throws what `keys.open` throws. */
export function openJwtKey(stored: NewJwtKey, keys: KeyStore): SigningJwtKey {
  return signingKey(stored, keys.open(stored));
}

function signingKey(
  { id, kind, state, keyAlgorithm, publicKey, notBefore, notAfter }: JwtKey,
  signer: Signer,
): SigningJwtKey {
  const { key, kind: keyKind, bits } = parsePublicKey(publicKey);
  const algorithm = signingAlgorithmOf(key);
  if (algorithm === undefined)
    throw new CarnetError(
      'key_unsupported',
      `a ${keyAlgorithm} key signs no JWT-SVID: use one of ${JWT_KEY_ALGORITHMS.join(', ')}`,
    );
  return {
    ...{ id, kind, state, keyAlgorithm, publicKey, notBefore, notAfter, algorithm },
    sign: async (input) => {
      const signature = await signer.sign(input);
      return keyKind === 'rsa' ? signature : ecdsaSignatureOf(signature, bits / 8);
    },
  };
}

/** Throws `certificate_lint_failed` for a key that does not verify what it signs. */
async function trySigning({ id, publicKey, algorithm, sign }: SigningJwtKey): Promise<void> {
  const input = Buffer.from('carnet trial');
  const key = createPublicKey({ key: Buffer.from(publicKey), format: 'der', type: 'spki' });
  if (!verifyJws(algorithm, key, input, await sign(input)))
    throw new CarnetError(
      'certificate_lint_failed',
      `the key ${id} does not verify its own trial signature; it is not used`,
    );
}
