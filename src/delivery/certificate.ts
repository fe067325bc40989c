import type { Attestation } from '../attestation/attestation.ts';
import type { Grant } from '../policy/entry.ts';
import { renewalTime, retryDelay } from '../rotation/renewal.ts';
import type { X509Svid } from './holdings.ts';

const AT_ONCE = Number.NEGATIVE_INFINITY;
/** A clock that goes back by less is only being disciplined; by more, and what was planned is planned again. */
const CLOCK_STEP_MS = 5_000;

/**
 * One identity of one instance over time: what it holds of it, and when it needs the next. A value: each
 * event makes a new one. Times are milliseconds since the epoch.
 */
export interface Certificate {
  readonly grant: Grant;
  /** The caller on whose word it is issued. */
  readonly attestation: Attestation;
  readonly svid: X509Svid | null;
  /** The entry's version that `svid` was issued by. */
  readonly issuedBy: number | null;
  /** When to issue next, the first time or again. */
  readonly dueAt: number;
  /** When `dueAt` was set, to notice a clock that has gone back since. */
  readonly plannedAt: number;
  /** Failures since the last success, and what the last one said. */
  readonly attempts: number;
  readonly problem: string | null;
}

/** A grant that nothing has been issued for yet. */
export function wanted(grant: Grant, attestation: Attestation): Certificate {
  return {
    grant,
    attestation,
    svid: null,
    issuedBy: null,
    dueAt: AT_ONCE,
    plannedAt: AT_ONCE,
    attempts: 0,
    problem: null,
  };
}

/** A leaf as it was handed out before a restart, and the entry's version that it was issued by. */
export interface KeptSvid {
  readonly svid: X509Svid;
  readonly issuedBy: number;
}

/** A grant whose leaf outlived a restart: it is renewed when it would have been without one. */
export function resumed(
  grant: Grant,
  attestation: Attestation,
  { svid, issuedBy }: KeptSvid,
  now: number,
  random: number,
): Certificate {
  const outdated = issuedBy !== grant.entryVersion;
  const renewal = renewalTime(svid.notBefore.getTime(), svid.notAfter.getTime(), random);
  return {
    ...wanted(grant, attestation),
    svid,
    issuedBy,
    dueAt: outdated ? AT_ONCE : renewal,
    plannedAt: now,
  };
}

/** The same with its grant as it is now. A new version of the entry is due at once; the old leaf serves until then. */
export function regranted(certificate: Certificate, grant: Grant, attestation: Attestation): Certificate {
  if (grant.entryVersion === certificate.grant.entryVersion) return { ...certificate, attestation };
  return { ...certificate, grant, attestation, dueAt: AT_ONCE, attempts: 0 };
}

export function isDue(certificate: Certificate, now: number): boolean {
  return now >= certificate.dueAt || now < certificate.plannedAt - CLOCK_STEP_MS;
}

/** After `svid` came, issued by the entry's version `version`. */
export function issued(
  certificate: Certificate,
  svid: X509Svid,
  version: number,
  now: number,
  random: number,
): Certificate {
  const outdated = version !== certificate.grant.entryVersion;
  return {
    ...certificate,
    svid,
    issuedBy: version,
    dueAt: outdated ? AT_ONCE : renewalTime(now, svid.notAfter.getTime(), random),
    plannedAt: now,
    attempts: 0,
    problem: null,
  };
}

/** Its leaf is to be replaced now, however long it is valid. */
export function superseded(certificate: Certificate): Certificate {
  return { ...certificate, dueAt: AT_ONCE };
}

/** What failed is to be tried again now, because what it failed for is over. */
export function retried(certificate: Certificate): Certificate {
  return { ...certificate, dueAt: AT_ONCE, attempts: 0 };
}

/** After a try failed: the old leaf stays. */
export function failed(certificate: Certificate, problem: string, now: number, random: number): Certificate {
  const attempts = certificate.attempts + 1;
  const restMs = certificate.svid === null ? null : certificate.svid.notAfter.getTime() - now;
  return {
    ...certificate,
    attempts,
    problem,
    dueAt: now + retryDelay(attempts, restMs, random),
    plannedAt: now,
  };
}

/** What may still be handed out of it: nothing once it has expired. */
export function servable(certificate: Certificate, now: number): X509Svid | null {
  const { svid } = certificate;
  return svid !== null && svid.notAfter.getTime() > now ? svid : null;
}
