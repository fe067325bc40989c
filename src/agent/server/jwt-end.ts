import { decodeJwt } from 'jose';
import { CarnetError } from '../../errors.ts';

/**
 * When a JWT ends (RFC 7519 §4.1.4), in milliseconds since the epoch, by its own word: nobody has verified it. Throws
 * `unauthenticated` for one that has ended at `now`, or is none.
 */
export function endOfToken(token: string, now: number): number {
  const { exp } = claimsOf(token);
  if (typeof exp !== 'number' || !Number.isFinite(exp)) throw refused('it does not say when it ends');
  if (now >= exp * 1000) throw expired(exp * 1000);
  return exp * 1000;
}

/** The refusal of a token that ended at this time, in milliseconds since the epoch. */
export function expired(endsAt: number): CarnetError {
  const end = new Date(endsAt);
  const when = Number.isNaN(end.getTime()) ? 'long ago' : `at ${end.toISOString()}`;
  return refused(`it expired ${when}: come back with a newer one`);
}

function claimsOf(token: string): ReturnType<typeof decodeJwt> {
  try {
    return decodeJwt(token);
  } catch (cause) {
    throw refused('it is no JWT', cause);
  }
}

function refused(why: string, cause?: unknown): CarnetError {
  return new CarnetError('unauthenticated', `the token is not accepted: ${why}`, { cause });
}
