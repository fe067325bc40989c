import { hash, randomBytes } from 'node:crypto';
import { recordedEvidence } from '../attestation/recorded-evidence.ts';
import type { Issuance, Recorder } from '../audit/issuance.ts';
import type { Clock } from '../clock.ts';
import { CarnetError } from '../errors.ts';
import { parseAudiences } from '../identity/audience.ts';
import { encodeSigningInput, type JwtClaims } from '../identity/jwt-svid.ts';
import { SERIAL_BYTES, serialHex } from '../x509/serial.ts';
import type { SigningJwtKey } from './jwt-key.ts';
import type { JwtRequest, MintJwt } from './jwt-request.ts';
import { JWT_SVID } from './profile.ts';

export interface MintJwtOptions {
  /** The key that signs now. Throws `authority_unavailable` while there is none. */
  readonly activeKey: () => SigningJwtKey;
  readonly recorder: Recorder;
  readonly clock: Clock;
  readonly ttlSeconds: number;
  /** The `iss` of tokens; null for none. */
  readonly issuer: string | null;
}

/**
 * The way of one JWT-SVID, from a grant to a recorded token. Nothing but its audience is taken from the request, and
 * nothing is returned that is not committed. History holds what was signed, without the signature, and the digest of
 * the whole: a token can be found there, and not be taken from it. Throws `invalid_argument`,
 * `authority_unavailable`, and what the recorder throws.
 */
export function createMintJwt({ activeKey, recorder, clock, ttlSeconds, issuer }: MintJwtOptions): MintJwt {
  return async (request) => {
    // 1. Whom it is for.
    const audience = parseAudiences(request.audience);
    // 2. How long it lives: never longer than its key.
    const key = activeKey();
    const { iat, exp } = life(key, clock(), ttlSeconds);
    // 3. Build and sign.
    const jti = serialHex(randomBytes(SERIAL_BYTES));
    const aud = audience.length === 1 ? (audience[0] ?? '') : audience;
    const claims = {
      ...(issuer === null ? {} : { iss: issuer }),
      sub: request.grant.spiffeId,
      aud,
      exp,
      iat,
      jti,
    };
    const signingInput = encodeSigningInput(key.algorithm, key.id, claims);
    const signature = await key.sign(Buffer.from(signingInput));
    const token = `${signingInput}.${Buffer.from(signature).toString('base64url')}`;
    // 4. Record: this resolves when the row is committed.
    await recorder.record(issuanceOf(request, key, claims, signingInput, token));
    // 5. Release.
    return { token, issuedAt: new Date(iat * 1000), expiresAt: new Date(exp * 1000) };
  };
}

/** In seconds since the epoch. Throws `authority_unavailable` for a key that has ended, or ends too soon. */
function life(key: SigningJwtKey, now: number, ttlSeconds: number): { iat: number; exp: number } {
  const iat = Math.floor(now / 1000);
  const exp = Math.min(iat + ttlSeconds, Math.floor(key.notAfter.getTime() / 1000));
  if (exp - iat < Math.min(ttlSeconds, JWT_SVID.lifetime.minSeconds))
    throw new CarnetError(
      'authority_unavailable',
      `the key ${key.id} ends at ${key.notAfter.toISOString()}, and its successor does not sign yet`,
    );
  return { iat, exp };
}

function issuanceOf(
  { grant, attestation, node, requester }: JwtRequest,
  key: SigningJwtKey,
  { jti, iat, exp }: JwtClaims,
  signingInput: string,
  token: string,
): Issuance {
  return {
    serial: jti,
    profile: JWT_SVID.name,
    identity: grant.spiffeId,
    dnsNames: [],
    notBefore: new Date(iat * 1000),
    notAfter: new Date(exp * 1000),
    authority: key.id,
    publicKeySha256: hash('sha256', key.publicKey, 'buffer'),
    certificateSha256: hash('sha256', token, 'buffer'),
    certificate: Buffer.from(signingInput),
    node,
    instance: attestation.instance,
    evidence: recordedEvidence(attestation),
    entryId: grant.entryId,
    entryVersion: grant.entryVersion,
    requester,
  };
}
