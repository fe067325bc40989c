import { z } from 'zod';
import type { ReviewToken } from '../attestation/node/bound-token.ts';
import { CarnetError, isRetryable } from '../errors.ts';
import type { KubernetesClient } from './client.ts';

const PATH = '/apis/authentication.k8s.io/v1/tokenreviews';

/** What counts of a TokenReview's status. `authenticated` is absent, not false, on a refusal. */
const REVIEW = z.object({
  status: z.object({
    authenticated: z.boolean().default(false),
    error: z.string().optional(),
    audiences: z.array(z.string()).default([]),
    user: z
      .object({
        username: z.string().optional(),
        extra: z.record(z.string(), z.array(z.string())).default({}),
      })
      .default({ extra: {} }),
  }),
});

/**
 * Asks the API server whose a token is. Needs `create` on `tokenreviews` (ClusterRole `system:auth-delegator`). What goes
 * wrong between us and the API server is `unavailable` or its like, and never a refusal of the token.
 */
export function createTokenReview(client: Pick<KubernetesClient, 'create'>): ReviewToken {
  return async (token, audience) => {
    const { status } = REVIEW.parse(await ask(client, token, audience));
    const { authenticated, error, audiences, user } = status;
    return {
      username: authenticated ? (user.username ?? null) : null,
      error: error ?? null,
      audiences,
      extra: user.extra,
    };
  };
}

async function ask(
  client: Pick<KubernetesClient, 'create'>,
  token: string,
  audience: string,
): Promise<unknown> {
  try {
    return await client.create(PATH, {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token, audiences: [audience] },
    });
  } catch (cause) {
    if (!(cause instanceof CarnetError) || isRetryable(cause)) throw cause;
    throw new CarnetError('unavailable', `we may not review tokens there: ${cause.message}`, { cause });
  }
}
