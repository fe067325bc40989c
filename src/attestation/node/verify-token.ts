import { decodeJwt, errors, type JWTPayload, jwtVerify } from 'jose';
import { formatDuration } from '../../duration.ts';
import { CarnetError } from '../../errors.ts';
import type { TokenKeys } from './token-keys.ts';

/** What every token must hold to, by whatever means its signature is verified. */
export interface TokenRules {
  /** `iss`; null where the signature's key alone says who issued it. */
  readonly issuer: string | null;
  /** Ours, which must be among the token's. */
  readonly audience: string;
  /** From `iat` on. */
  readonly maxAgeSeconds: number;
}

/** Signature algorithms (RFC 7518 §3.1, RFC 8037 §3.1) by a key pair: a shared secret proves nothing about who signed. */
export const TOKEN_ALGORITHMS = [
  'RS256',
  'RS384',
  'RS512',
  'PS256',
  'PS384',
  'PS512',
  'ES256',
  'ES384',
  'ES512',
  'EdDSA',
] as const;
export type TokenAlgorithm = (typeof TOKEN_ALGORITHMS)[number];

/** Ours: tokens with claims of many groups have some KiB. */
const MAX_TOKEN_BYTES = 16 * 1024;
/** RFC 7515 §3.1, the compact form. */
const COMPACT = /^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/;
/** For clocks that differ (RFC 7519 §4.1.4). */
export const LEEWAY_SECONDS = 30;

/** The token in an agent's claim, which may end in a line feed. Throws `attestation_failed`. */
export function readToken(method: string, payload: Uint8Array): string {
  const token = payload.length > MAX_TOKEN_BYTES ? '' : Buffer.from(payload).toString('latin1').trim();
  if (!COMPACT.test(token))
    throw new CarnetError(
      'attestation_failed',
      `${method}: the payload is no JWT of at most ${MAX_TOKEN_BYTES} bytes`,
    );
  return token;
}

/**
 * The claims of a token whose signature nobody has verified yet: to choose who verifies it, and to refuse what could
 * not pass. Throws `attestation_failed`.
 */
export function peekClaims(method: string, token: string): JWTPayload {
  try {
    return decodeJwt(token);
  } catch (cause) {
    throw new CarnetError('attestation_failed', `${method}: the payload is no JWT`, { cause });
  }
}

/**
 * Verifies a token's signature by one of the keys and algorithms, and its claims by the rules (RFC 7519 §7.2). `now` is
 * in milliseconds. Throws `attestation_failed`, `node_token_expired`, `node_token_audience`; what `keys` throws.
 */
export async function verifyToken(
  method: string,
  token: string,
  { keys, algorithms }: { readonly keys: TokenKeys; readonly algorithms: readonly TokenAlgorithm[] },
  rules: TokenRules,
  now: number,
): Promise<JWTPayload> {
  try {
    // No time is checked here: checkClaims() does, and says which one it was.
    const { payload } = await jwtVerify(token, keys, {
      algorithms: [...algorithms],
      currentDate: new Date(now),
      clockTolerance: Number.MAX_SAFE_INTEGER,
    });
    checkClaims(method, payload, rules, now);
    return payload;
  } catch (cause) {
    if (cause instanceof CarnetError) throw cause;
    if (cause instanceof errors.JWKSTimeout)
      throw new CarnetError('timeout', `${method}: the issuer's keys could not be had in time`, { cause });
    if (!(cause instanceof errors.JOSEError)) throw cause;
    throw new CarnetError(
      'attestation_failed',
      `${method}: the token is not taken: ${reasonOf(cause, algorithms)}`,
      {
        cause,
      },
    );
  }
}

/** Whether claims hold to the rules. Throws `attestation_failed`, `node_token_expired`, `node_token_audience`. */
export function checkClaims(method: string, claims: JWTPayload, rules: TokenRules, now: number): void {
  const { iss, exp, nbf, iat } = claims;
  const seconds = now / 1000;
  const refused = (why: string) => new CarnetError('attestation_failed', `${method}: the token ${why}`);
  const expired = (why: string) => new CarnetError('node_token_expired', `${method}: the token ${why}`);
  if (rules.issuer !== null && iss !== rules.issuer)
    throw refused(`is of another issuer than ${rules.issuer}`);
  const audiences = [claims.aud ?? []].flat();
  if (!audiences.includes(rules.audience))
    throw new CarnetError(
      'node_token_audience',
      `${method}: the token is for ${shown(audiences.join(', '))}, and not for ${rules.audience}: ask for one with that audience`,
    );
  if (typeof exp !== 'number' || typeof iat !== 'number')
    throw refused('does not say when it was issued and when it ends');
  if (seconds > exp + LEEWAY_SECONDS) throw expired(`expired at ${timeOf(exp)}`);
  if (seconds > iat + rules.maxAgeSeconds + LEEWAY_SECONDS)
    throw expired(
      `was issued at ${timeOf(iat)}, and none older than ${formatDuration(rules.maxAgeSeconds)} is taken: show a newer one`,
    );
  if (seconds < iat - LEEWAY_SECONDS)
    throw refused(`is issued at ${timeOf(iat)}, which is to come: is a clock wrong?`);
  if (typeof nbf === 'number' && seconds < nbf - LEEWAY_SECONDS)
    throw refused(`is not valid before ${timeOf(nbf)}`);
}

function reasonOf(error: errors.JOSEError, algorithms: readonly string[]): string {
  if (error instanceof errors.JWKSNoMatchingKey) return "none of the issuer's keys is the one that it names";
  if (error instanceof errors.JWKSMultipleMatchingKeys)
    return "it names no key, and several of the issuer's could have signed it";
  if (error instanceof errors.JWSSignatureVerificationFailed)
    return "its signature is not by the issuer's key";
  if (error instanceof errors.JOSEAlgNotAllowed) return `its algorithm is none of ${algorithms.join(', ')}`;
  return error.message;
}

function timeOf(seconds: number): string {
  const time = new Date(seconds * 1000);
  return Number.isNaN(time.getTime()) ? shown(String(seconds)) : time.toISOString();
}

/** Claims of a token that nobody has verified are anybody's. */
function shown(text: string): string {
  return JSON.stringify(text.slice(0, 100));
}
