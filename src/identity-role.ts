import { ROLES, type Role } from './api/role.ts';
import { CarnetError } from './errors.ts';
import { parseSpiffeId, type SpiffeId, type TrustDomain, trustDomainOf } from './identity/spiffe-id.ts';
import { isReserved } from './policy/id-template.ts';
import type { Address } from './setting-values.ts';

/** Who has this identity has this role. */
export interface IdentityRole {
  readonly role: Role;
  readonly spiffeId: SpiffeId;
}

/** Parses `ROLE=SPIFFE-ID`, with commas between. Throws `config_invalid`. */
export function identityRolesOf(value: string): IdentityRole[] {
  return value.split(',').map((part) => {
    const [, text = '', id = ''] = /^([a-z-]+)=(.+)$/.exec(part.trim()) ?? [];
    const role = ROLES.find((one) => one === text);
    // Break-glass is for an hour, and a workload's identity is renewed for ever.
    if (role === undefined || role === 'break-glass')
      throw new CarnetError(
        'config_invalid',
        `${JSON.stringify(part)} gives nobody a role: write ROLE=SPIFFE-ID with a role of admin, operator, auditor`,
      );
    try {
      return { role, spiffeId: parseSpiffeId(id) };
    } catch (cause) {
      throw new CarnetError('config_invalid', `${JSON.stringify(part)}: ${(cause as Error).message}`, {
        cause,
      });
    }
  });
}

/** Throws `config_invalid` for a role that nobody could use. */
export function checkIdentityRoles(config: {
  readonly identityRole: readonly IdentityRole[];
  readonly httpsAddr: Address | null;
  readonly trustDomain: TrustDomain;
}): void {
  const { identityRole, httpsAddr, trustDomain } = config;
  if (identityRole.length > 0 && httpsAddr === null)
    throw new CarnetError('config_invalid', '--identity-role needs --https-addr');
  for (const { spiffeId } of identityRole) {
    // Who lets a node in by its name would have the role: an operator, by a join token.
    if (isReserved(spiffeId))
      throw new CarnetError(
        'config_invalid',
        `--identity-role: ${spiffeId} is for Carnet's own servers and agents, and has no role`,
      );
    if (trustDomainOf(spiffeId) !== trustDomain)
      throw new CarnetError(
        'config_invalid',
        `--identity-role: ${spiffeId} is not of the trust domain ${trustDomain}, and would not be let in`,
      );
  }
}
