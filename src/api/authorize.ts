import { CarnetError } from '../errors.ts';
import { rolesFor } from './role.ts';
import type { Caller, Route } from './route.ts';
import { scopeOf } from './scope.ts';

/** Throws `permission_denied` unless the caller's role is one of those that the route is for, and its scopes have it. */
export function authorize({ actor, role, scopes }: Caller, route: Route): void {
  const roles = rolesFor(route.access);
  if (role === null || !roles.includes(role))
    throw new CarnetError(
      'permission_denied',
      `${actor} has the role ${role}, and this needs ${roles.length === 1 ? '' : 'one of '}${roles.join(', ')}`,
    );
  const scope = scopeOf(route);
  if (scopes !== null && scope !== null && !scopes.includes(scope))
    throw new CarnetError(
      'permission_denied',
      `${actor} is limited to ${scopes.join(', ')}, and this needs ${scope}`,
    );
}
