import { createHash } from 'node:crypto';
import type { SignedInPerson } from '../api/oidc-sign-in.ts';
import type { Role } from '../api/role.ts';
import { claimAt } from '../attestation/node/claim-path.ts';

/** Who has this value in the role claim may have this role. */
export interface RoleMapping {
  readonly role: Role;
  readonly value: string;
}

export interface PersonRules {
  readonly issuer: string;
  /** As claim-path.ts reads it. */
  readonly nameClaim: string;
  readonly roleClaim: string;
  readonly mappings: readonly RoleMapping[];
}

const MAX_NAME = 64;
/** 48 bits: two people of one provider don't share it by chance, and none chooses a `sub` to have another's. */
const TAG_CHARACTERS = 12;

/**
 * Who a person is, by verified claims. On record as `operator:<name>~<tag>`: the name for people to read, which its
 * holder or the provider may change or give to another; the tag, of issuer and `sub`, for what stays (OpenID Connect
 * Core §5.7). No token's name has a `~`.
 */
export function personOf(
  claims: Readonly<Record<string, unknown>> & { readonly sub: string },
  { issuer, nameClaim, roleClaim, mappings }: PersonRules,
): SignedInPerson {
  const name = nameOf(claims, nameClaim);
  const values = new Set([claimAt(claims, roleClaim) ?? []].flat());
  const tag = createHash('sha256').update(`${issuer}\n${claims.sub}`).digest('hex').slice(0, TAG_CHARACTERS);
  return {
    actor: `operator:${name}~${tag}`,
    roles: [...new Set(mappings.filter(({ value }) => values.has(value)).map(({ role }) => role))],
    subject: claims.sub,
    issuer,
  };
}

/** Whether the claims lack what the rules look at: then it may be at the UserInfo endpoint (OpenID Connect Core §5.3). */
export function lacksClaims(claims: unknown, { nameClaim, roleClaim }: PersonRules): boolean {
  return claimAt(claims, nameClaim) === null || claimAt(claims, roleClaim) === null;
}

/** An address that its provider did not verify is whatever its holder wrote. */
function nameOf(claims: Readonly<Record<string, unknown>> & { readonly sub: string }, claim: string): string {
  const isUnverified = claim === 'email' && claims.email_verified === false;
  const value = isUnverified ? null : claimAt(claims, claim);
  const text = typeof value === 'string' && value !== '' ? value : claims.sub;
  return text.slice(0, MAX_NAME).replace(/[^A-Za-z0-9@._+-]/g, '_');
}
