import type { IssuedJwt, JwtRequest } from '../../ca/jwt-request.ts';
import { CarnetError } from '../../errors.ts';
import type { IssueJwtRequest, IssueJwtResponse } from '../../gen/carnet/agent/v1/agent.ts';
import { verifyJwtSvid } from '../../identity/jwt-svid.ts';
import type { TrustBundle } from '../../identity/trust-bundle.ts';
import { refusalOf, workloadOf } from './issued.ts';

/** What a server is asked for: the workload as it was attested here, and the entry that grants it. */
export function jwtRequestOf(request: JwtRequest): IssueJwtRequest {
  return { audience: [...request.audience], ...workloadOf(request) };
}

/**
 * What the server made of it, verified as whoever gets the token will. Throws the server's own code, `unavailable` for
 * a token that cannot be verified by the bundle that this agent has: the next bundle may be on its way.
 */
export function issuedJwtOf(
  { outcome }: IssueJwtResponse,
  { grant, audience }: JwtRequest,
  { trustDomain, jwtAuthorities }: TrustBundle,
  now: number,
): IssuedJwt {
  if (outcome?.$case !== 'issued') throw refusalOf(outcome?.value);
  const { token, issuedAtMs, expiresAtMs } = outcome.value;
  try {
    for (const one of audience) {
      const keysOf = (domain: string) => (domain === trustDomain ? jwtAuthorities : undefined);
      const { spiffeId } = verifyJwtSvid(token, { audience: one, keysOf, now });
      if (spiffeId !== grant.spiffeId) throw new CarnetError('invalid_argument', `it is for ${spiffeId}`);
    }
  } catch (cause) {
    throw new CarnetError('unavailable', `the server's token cannot be used: ${(cause as Error).message}`, {
      cause,
    });
  }
  return { token, issuedAt: new Date(issuedAtMs), expiresAt: new Date(expiresAtMs) };
}
