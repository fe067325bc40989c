/**
 * What somebody may do who is known: `auditor` reads everything and changes nothing, `operator` runs the fleet and
 * does not read evidence, `admin` does both and says who may what, `break-glass` is an admin for an hour at most,
 * whom everybody hears of.
 */
export const ROLES = ['admin', 'operator', 'auditor', 'break-glass'] as const;
export type Role = (typeof ROLES)[number];

/** Whom a route is for. `reader`: everybody with a role; `public`: everybody. */
export type Access = 'public' | 'reader' | 'operator' | 'auditor' | 'admin';

/** The only place that says which role covers what. None but these two covers another. */
const COVERED: Readonly<Record<Access, readonly Role[]>> = {
  public: ROLES,
  reader: ROLES,
  operator: ['admin', 'operator', 'break-glass'],
  auditor: ['admin', 'auditor', 'break-glass'],
  admin: ['admin', 'break-glass'],
};

/** The roles that may call a route of this access. */
export function rolesFor(access: Access): readonly Role[] {
  return COVERED[access];
}
