import type { Issue } from '../ca/issue-request.ts';
import { CarnetError } from '../errors.ts';
import { type Denial, denialOf } from '../revocation/denial.ts';

/** The same, but nothing is issued to whom an operator has revoked. Throws `permission_denied`. */
export function refuseDenied(issue: Issue, denials: () => readonly Denial[]): Issue {
  return async (request) => {
    const { grant, attestation, node } = request;
    const denial = denialOf(denials(), { identity: grant.spiffeId, instance: attestation.instance, node });
    if (denial !== undefined)
      throw new CarnetError(
        'permission_denied',
        `${grant.spiffeId} is revoked for ${attestation.instance}: denial ${denial.id} by ${denial.actor}`,
      );
    return issue(request);
  };
}
