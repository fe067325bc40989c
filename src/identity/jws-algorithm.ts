import { constants, type KeyObject, type VerifyKeyObjectInput, verify } from 'node:crypto';

/** The signature algorithms of JWT-SVIDs (JWT-SVID §2.1; RFC 7518 §3.3 to §3.5). Anything else is refused. */
export const JWS_ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'ES256',
  'ES384',
  'ES512',
  'PS256',
  'PS384',
  'PS512',
] as const;
export type JwsAlgorithm = (typeof JWS_ALGORITHMS)[number];

/** As OpenSSL names the curves of RFC 7518 §3.4. */
const CURVES: Readonly<Record<string, JwsAlgorithm>> = {
  prime256v1: 'ES256',
  secp384r1: 'ES384',
  secp521r1: 'ES512',
};
/** RFC 7518 §3.3. */
const MIN_RSA_BITS = 2048;
/** Ours: above, one verification costs milliseconds. */
const MAX_RSA_BITS = 8192;

export function isJwsAlgorithm(name: unknown): name is JwsAlgorithm {
  return (JWS_ALGORITHMS as readonly unknown[]).includes(name);
}

/** The algorithm by which a key of ours signs tokens; undefined for one that cannot (JWT-SVID knows no Ed25519). */
export function signingAlgorithmOf(key: KeyObject): JwsAlgorithm | undefined {
  if (key.asymmetricKeyType === 'rsa') return isRsa(key) ? 'RS256' : undefined;
  return CURVES[key.asymmetricKeyDetails?.namedCurve ?? ''];
}

/** Whether `signature` is the key's over `data`; false too where the algorithm is not one of its type and size. */
export function verifyJws(
  algorithm: JwsAlgorithm,
  key: KeyObject,
  data: Uint8Array,
  signature: Uint8Array,
): boolean {
  const options = verifyOptions(algorithm, key);
  return options !== undefined && verify(`sha${algorithm.slice(2)}`, data, options, signature);
}

function verifyOptions(algorithm: JwsAlgorithm, key: KeyObject): VerifyKeyObjectInput | undefined {
  switch (algorithm.slice(0, 2)) {
    case 'ES':
      return CURVES[key.asymmetricKeyDetails?.namedCurve ?? ''] === algorithm
        ? { key, dsaEncoding: 'ieee-p1363' }
        : undefined;
    case 'RS':
      return isRsa(key) ? { key, padding: constants.RSA_PKCS1_PADDING } : undefined;
    default:
      return isRsa(key)
        ? { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: constants.RSA_PSS_SALTLEN_DIGEST }
        : undefined;
  }
}

function isRsa(key: KeyObject): boolean {
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  return key.asymmetricKeyType === 'rsa' && bits >= MIN_RSA_BITS && bits <= MAX_RSA_BITS;
}
