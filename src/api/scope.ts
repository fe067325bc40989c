import { CarnetError } from '../errors.ts';
import { type Role, rolesFor } from './role.ts';
import type { Caller, Route } from './route.ts';

/** Signing in and out, and who one is: whatever somebody is limited to. */
const UNSCOPED = 'session';

/**
 * What a token can be limited to: the first part of a route's path, and whether it reads or writes, as in
 * `entries:write`, which doesn't include `entries:read`. It follows from the route, so that none is left out; null
 * where nobody can be limited.
 */
export function scopeOf({ method, path, access }: Pick<Route, 'method' | 'path' | 'access'>): string | null {
  const group = /^(?:\/v1)?\/([\w-]+)/.exec(path)?.[1] ?? 'other';
  if (access === 'public' || group === UNSCOPED) return null;
  return `${group}:${method === 'GET' ? 'read' : 'write'}`;
}

/** The scopes of what a role may, in order. */
function scopesOf(role: Role, routes: readonly Route[]): string[] {
  const open = routes.filter(({ access }) => rolesFor(access).includes(role));
  return [...new Set(open.flatMap((route) => scopeOf(route) ?? []))].sort();
}

/**
 * Throws `invalid_argument` for a scope that the new token's role never has, and `permission_denied` where the token
 * could do more than the caller: a limit that its holder can lift is none.
 */
export function checkScopes(
  { role, scopes }: { readonly role: Role; readonly scopes: readonly string[] | null },
  routes: readonly Route[],
  caller: Caller,
): void {
  const known = scopesOf(role, routes);
  const foreign = scopes?.filter((scope) => !known.includes(scope)) ?? [];
  if (foreign.length > 0)
    throw new CarnetError(
      'invalid_argument',
      `scopes: ${JSON.stringify(foreign[0])} is nothing that ${role} may: these are ${known.join(', ')}`,
    );
  const own = caller.scopes;
  const wanted = scopes ?? known;
  const beyond = own === null ? [] : wanted.filter((scope) => !own.includes(scope));
  if (beyond.length > 0)
    throw new CarnetError(
      'permission_denied',
      `${caller.actor} is limited to ${own?.join(', ')} and can't give away ${beyond.join(', ')}`,
    );
}
