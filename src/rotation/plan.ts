import type { Authority, AuthorityKind } from '../ca/authority.ts';

/** How long new authorities live, in milliseconds. */
export interface Schedule {
  readonly rootTtlMs: number;
  readonly issuingTtlMs: number;
}

/** One change of the authorities. Each is carried out in one transaction. */
export type Step =
  | { readonly kind: 'create-root'; readonly why: string }
  | {
      readonly kind: 'create-issuing';
      readonly parentId: string;
      readonly supersedes: string | null;
      readonly why: string;
    }
  | { readonly kind: 'retire'; readonly id: string; readonly why: string };

/** An issuing CA is replaced once this share of its life is over. */
const RENEW_AFTER = 0.5;
/** A successor that would end less than this share of a lifetime later is not worth making: its root holds it back. */
const WORTH_RENEWING = 0.05;

/**
 * What is to be done about the authorities now (milliseconds since the epoch). Deterministic, and empty when
 * all is well: carrying the steps out and planning again gives nothing.
 */
export function plan(now: number, authorities: readonly Authority[], schedule: Schedule): Step[] {
  if (authorities.length === 0) return [{ kind: 'create-root', why: 'first start' }];
  const root = newest(authorities, 'root');
  const issuing = newest(authorities, 'issuing');
  const steps: Step[] = [];
  if (root !== undefined && isValid(root, now)) {
    const why = whyNewIssuing(now, root, issuing, schedule);
    if (why !== null)
      steps.push({ kind: 'create-issuing', parentId: root.id, supersedes: issuing?.id ?? null, why });
  }
  for (const { id, kind, state, notAfter } of authorities)
    if (kind === 'issuing' && state === 'draining' && notAfter.getTime() <= now)
      steps.push({ kind: 'retire', id, why: 'expired' });
  return steps;
}

export function isValid(authority: Authority, now: number): boolean {
  return authority.notBefore.getTime() <= now && now < authority.notAfter.getTime();
}

function whyNewIssuing(
  now: number,
  root: Authority,
  issuing: Authority | undefined,
  schedule: Schedule,
): string | null {
  if (issuing === undefined) return 'there is none';
  if (issuing.parentId !== root.id) return 'the root changed';
  if (now < issuing.notBefore.getTime()) return 'the clock went back to before the last one begins';
  const end = issuing.notAfter.getTime();
  if (now >= end) return 'the last one expired';
  const start = issuing.notBefore.getTime();
  const wouldEnd = Math.min(now + schedule.issuingTtlMs, root.notAfter.getTime());
  const gain = wouldEnd - end;
  if (now >= start + (end - start) * RENEW_AFTER && gain > schedule.issuingTtlMs * WORTH_RENEWING)
    return 'half of its life is over';
  return null;
}

function newest(authorities: readonly Authority[], kind: AuthorityKind): Authority | undefined {
  return authorities
    .filter((authority) => authority.kind === kind && authority.state === 'active')
    .reduce<Authority | undefined>((a, b) => (a === undefined || b.notAfter > a.notAfter ? b : a), undefined);
}
