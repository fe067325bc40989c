import type { IssueRequest } from '../ca/issue-request.ts';
import { CarnetError } from '../errors.ts';
import { type Denial, denialOf } from '../revocation/denial.ts';

/**
 * The same, for certificates or tokens, but nothing is issued to whom an operator has revoked. Throws
 * `permission_denied`.
 */
export function refuseDenied<Request extends Pick<IssueRequest, 'grant' | 'attestation' | 'node'>, Answer>(
  issue: (request: Request) => Promise<Answer>,
  denials: () => readonly Denial[],
): (request: Request) => Promise<Answer> {
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
