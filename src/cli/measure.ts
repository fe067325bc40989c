import { X509_SVID } from '../ca/profile.ts';
import { errorCodeOf } from '../errors.ts';
import type { Metrics } from '../metrics.ts';

/** The same, for certificates or tokens, counted and timed. */
export function countedIssue<Request, Answer>(
  issue: (request: Request) => Promise<Answer>,
  metrics: Metrics,
  profile: { readonly name: string } = X509_SVID,
): (request: Request) => Promise<Answer> {
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
