import { CarnetError } from '../errors.ts';
import type { Authority } from './authority.ts';
import type { Lifetime } from './profile.ts';

/** What is asked of a certificate's life. */
export interface LifeRequest {
  /** Milliseconds since the epoch. */
  readonly now: number;
  readonly ttlSeconds: number;
  /** How far the beginning is put back, for verifiers whose clocks are slow. */
  readonly backdateSeconds: number;
}

/** A certificate that its issuer's end would cut to less than this share of what was asked is not worth issuing. */
const LEAST_SHARE = 0.1;

/**
 * The validity of a certificate, in whole seconds: as asked, within the profile's bounds, and within its
 * issuer's (null for a root). Throws `invalid_argument` for a lifetime out of bounds, `authority_unavailable`
 * where the issuer has not begun, has ended or ends too soon.
 */
export function validity(
  lifetime: Lifetime,
  { now, ttlSeconds, backdateSeconds }: LifeRequest,
  issuer: Pick<Authority, 'id' | 'notBefore' | 'notAfter'> | null,
): { notBefore: Date; notAfter: Date } {
  if (!(ttlSeconds >= lifetime.minSeconds && ttlSeconds <= lifetime.maxSeconds))
    throw new CarnetError(
      'invalid_argument',
      `a lifetime of ${ttlSeconds} s is not between ${lifetime.minSeconds} and ${lifetime.maxSeconds} s`,
    );
  const begin = wholeSeconds(now - backdateSeconds * 1000);
  const end = wholeSeconds(now + ttlSeconds * 1000);
  if (issuer === null) return { notBefore: new Date(begin), notAfter: new Date(end) };

  const issuerEnd = issuer.notAfter.getTime();
  if (now < issuer.notBefore.getTime())
    throw unavailable(issuer.id, `is not valid before ${issuer.notBefore.toISOString()}`, now);
  if (now > issuerEnd) throw unavailable(issuer.id, `expired at ${issuer.notAfter.toISOString()}`, now);
  if (issuerEnd - now < ttlSeconds * 1000 * LEAST_SHARE)
    throw unavailable(issuer.id, `expires at ${issuer.notAfter.toISOString()}, too soon`, now);
  return {
    notBefore: new Date(Math.max(begin, issuer.notBefore.getTime())),
    notAfter: new Date(Math.min(end, issuerEnd)),
  };
}

function wholeSeconds(time: number): number {
  return Math.floor(time / 1000) * 1000;
}

function unavailable(id: string, why: string, now: number): CarnetError {
  return new CarnetError(
    'authority_unavailable',
    `authority ${id} ${why}; the clock says ${new Date(now).toISOString()}`,
  );
}
