import { createPublicKey, type KeyObject } from 'node:crypto';
import { CarnetError } from '../errors.ts';
import { isJwsAlgorithm, type JwsAlgorithm, verifyJws } from './jws-algorithm.ts';
import { parseSpiffeId, type SpiffeId, type TrustDomain, trustDomainOf } from './spiffe-id.ts';
import type { JwtAuthority } from './trust-bundle.ts';

/** What a JWT-SVID of ours says (JWT-SVID §3, RFC 7519 §4.1). Times are seconds since the epoch. */
export interface JwtClaims {
  readonly sub: SpiffeId;
  readonly aud: string | readonly string[];
  readonly exp: number;
  readonly iat: number;
  readonly jti: string;
  /** Where OIDC discovery finds our keys; absent where nobody is to. */
  readonly iss?: string;
}

/** A JWT-SVID whose signature, audience and time were verified. */
export interface VerifiedJwt {
  readonly spiffeId: SpiffeId;
  /** All of them, as they were signed. */
  readonly claims: Readonly<Record<string, unknown>>;
}

export interface VerifyOptions {
  /** The verifier's own name, which must be among the token's audiences. */
  readonly audience: string;
  /** The keys of a trust domain; undefined for one that is not known. */
  readonly keysOf: (domain: TrustDomain) => readonly JwtAuthority[] | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** Ours: a token of ours has some 500 bytes, and one with the most audiences some 8 KiB. */
export const MAX_TOKEN_BYTES = 16_384;
/** For clocks that differ (RFC 7519 §4.1.4: "a small leeway"). */
const LEEWAY_SECONDS = 10;
const TYPES: readonly unknown[] = [undefined, 'JWT', 'JOSE'];
/** RFC 7515 §2: base64url without padding. */
const BASE64URL = /^[A-Za-z0-9_-]+$/;

/** The first two parts of a token in JWS compact serialization, of which the third signs the ASCII bytes (RFC 7515 §5.1). */
export function encodeSigningInput(algorithm: JwsAlgorithm, keyId: string, claims: JwtClaims): string {
  const header = { alg: algorithm, kid: keyId, typ: 'JWT' };
  return [header, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
}

/**
 * Verifies a JWT-SVID (JWT-SVID §2 to §4): the algorithm is one of the allowed and the key's own, the key one of the
 * subject's trust domain, the audience the verifier's, and its time not over. Throws `invalid_argument`.
 */
export function verifyJwtSvid(token: string, { audience, keysOf, now }: VerifyOptions): VerifiedJwt {
  const { algorithm, keyId, claims, signingInput, signature } = parse(token);
  const spiffeId = subjectOf(claims);
  const keys = keysOf(trustDomainOf(spiffeId));
  if (keys === undefined) throw invalid(`the trust domain ${trustDomainOf(spiffeId)} is not known here`);
  const candidates = keyId === undefined ? keys : keys.filter((key) => key.keyId === keyId);
  if (!candidates.some((key) => verifyJws(algorithm, keyObjectOf(key), signingInput, signature)))
    throw invalid(
      candidates.length === 0
        ? `no key ${JSON.stringify(keyId)} is known of ${trustDomainOf(spiffeId)}`
        : 'its signature is not one of its trust domain',
    );
  if (!audiencesOf(claims).includes(audience)) throw invalid(`it is not for ${JSON.stringify(audience)}`);
  checkTime(claims, now / 1000);
  return { spiffeId, claims };
}

/** The key ID that a token of ours names. The token is not verified: throws `invalid_argument` where it is none at all. */
export function keyIdOf(token: string): string | undefined {
  return parse(token).keyId;
}

function parse(token: string) {
  if (token.length > MAX_TOKEN_BYTES) throw invalid(`it is longer than ${MAX_TOKEN_BYTES} bytes`);
  const parts = token.split('.');
  const [header = '', payload = '', signature = ''] = parts;
  if (parts.length !== 3 || !parts.every((part) => BASE64URL.test(part)))
    throw invalid('it is not a JWS in compact serialization');
  const { alg, kid, typ, ...others } = parseObject(header, 'header');
  if (!isJwsAlgorithm(alg)) throw invalid(`its algorithm ${shown(alg)} is not one of JWT-SVID §2.1`);
  if (!TYPES.includes(typ)) throw invalid(`its type ${shown(typ)} is neither JWT nor JOSE`);
  if (kid !== undefined && typeof kid !== 'string') throw invalid('its key ID is not text');
  // §2: no other may be there, so none is ever obeyed.
  const [other] = Object.keys(others);
  if (other !== undefined) throw invalid(`its header ${shown(other)} has no place in a JWT-SVID (§2)`);
  return {
    algorithm: alg,
    keyId: kid,
    claims: parseObject(payload, 'payload'),
    signingInput: Buffer.from(`${header}.${payload}`, 'latin1'),
    signature: Buffer.from(signature, 'base64url'),
  };
}

function parseObject(part: string, what: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(part, 'base64url')));
  } catch {
    throw invalid(`its ${what} is not JSON`);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(`its ${what} is not a JSON object`);
  return value as Record<string, unknown>;
}

function subjectOf({ sub }: Record<string, unknown>): SpiffeId {
  if (typeof sub !== 'string') throw invalid('it has no subject');
  try {
    return parseSpiffeId(sub);
  } catch (cause) {
    throw invalid('its subject is not a SPIFFE ID', cause);
  }
}

function audiencesOf({ aud }: Record<string, unknown>): readonly unknown[] {
  const audiences: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
  if (audiences.length === 0 || !audiences.every((one) => typeof one === 'string'))
    throw invalid('it has no audience');
  return audiences;
}

/** `now` is seconds since the epoch. */
function checkTime({ exp, nbf, iat }: Record<string, unknown>, now: number): void {
  if (typeof exp !== 'number') throw invalid('it has no expiration time');
  if (now >= exp + LEEWAY_SECONDS) throw invalid(`it expired ${Math.round(now - exp)} s ago`);
  for (const begin of [nbf, iat]) {
    if (begin === undefined) continue;
    if (typeof begin !== 'number') throw invalid('a time of it is not a number');
    if (now < begin - LEEWAY_SECONDS) throw invalid('it is not valid yet');
  }
}

const keyObjects = new WeakMap<JwtAuthority, KeyObject>();

/** Parsed once for as long as the key lives: bundles are shared as objects. */
function keyObjectOf(authority: JwtAuthority): KeyObject {
  const known = keyObjects.get(authority);
  if (known !== undefined) return known;
  const key = createPublicKey({ key: Buffer.from(authority.publicKey), format: 'der', type: 'spki' });
  keyObjects.set(authority, key);
  return key;
}

function shown(value: unknown): string {
  return (JSON.stringify(value) ?? 'none').slice(0, 60);
}

function invalid(why: string, cause?: unknown): CarnetError {
  return new CarnetError('invalid_argument', `the JWT-SVID is refused: ${why}`, { cause });
}
