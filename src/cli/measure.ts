import type { Issue } from '../ca/issue-request.ts';
import { type LeafProfile, X509_SVID } from '../ca/profile.ts';
import { errorCodeOf } from '../errors.ts';
import type { Metrics } from '../metrics.ts';

/** The same, counted and timed. */
export function countedIssue(issue: Issue, metrics: Metrics, profile: LeafProfile = X509_SVID): Issue {
  return async (request) => {
    const begin = performance.now();
    let result = 'issued';
    try {
      return await issue(request);
    } catch (error) {
      result = errorCodeOf(error);
      throw error;
    } finally {
      metrics.issuances.inc({ profile: profile.name, result });
      metrics.issueSeconds.observe((performance.now() - begin) / 1000);
    }
  };
}
