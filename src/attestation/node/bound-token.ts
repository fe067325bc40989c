import type { JWTPayload } from 'jose';
import { z } from 'zod';
import { CarnetError } from '../../errors.ts';

/** What a cluster's API server says of a token (authentication.k8s.io/v1, TokenReview). */
export interface TokenReview {
  /** Null for a token that is not authenticated; `error` says why. */
  readonly username: string | null;
  readonly error: string | null;
  /** Those of the asked-for audiences that it is for. */
  readonly audiences: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

/** Asks the API server. Throws `unavailable` and its like where it says nothing. */
export type ReviewToken = (token: string, audience: string) => Promise<TokenReview>;

/** Who showed the token, all by the cluster's word. */
export interface BoundToken {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly podName: string;
  readonly podUid: string;
  readonly nodeName: string;
  readonly nodeUid: string;
}

const NAMED = z.object({ name: z.string(), uid: z.string() });
const CLAIMS = z.object({
  sub: z.string(),
  'kubernetes.io': z.object({
    namespace: z.string(),
    serviceaccount: NAMED,
    pod: NAMED.optional(),
    node: NAMED.optional(),
  }),
});

/** By claims that were verified. Throws `attestation_failed`. */
export function boundByClaims(claims: JWTPayload): BoundToken {
  const { data } = CLAIMS.safeParse(claims);
  if (data === undefined) throw refused("the token is no service account's");
  const { namespace, serviceaccount, pod, node } = data['kubernetes.io'];
  if (data.sub !== `system:serviceaccount:${namespace}:${serviceaccount.name}`)
    throw refused('the token says two different service accounts');
  if (pod === undefined || node === undefined) throw unbound();
  return {
    namespace,
    serviceAccount: serviceaccount.name,
    podName: pod.name,
    podUid: pod.uid,
    nodeName: node.name,
    nodeUid: node.uid,
  };
}

const USERNAME = /^system:serviceaccount:([^:]+):([^:]+)$/;
const EXTRA = 'authentication.kubernetes.io/';

/** By the API server's answer about a token for this audience. Throws `attestation_failed`, `node_token_audience`. */
export function boundByReview(
  { username, error, audiences, extra }: TokenReview,
  audience: string,
): BoundToken {
  if (username === null)
    throw refused(
      `the API server does not take the token: ${(error ?? 'it does not say why').slice(0, 300)}`,
    );
  // An API server that knows nothing of audiences would take a token for anybody (TokenReviewStatus.audiences).
  if (!audiences.includes(audience))
    throw new CarnetError(
      'node_token_audience',
      `service account token: the API server does not say that the token is for ${audience}`,
    );
  const [, namespace, serviceAccount] = USERNAME.exec(username) ?? [];
  if (namespace === undefined || serviceAccount === undefined)
    throw refused(`the token is of ${JSON.stringify(username.slice(0, 100))}, which is no service account`);
  const only = (key: string): string => {
    const [value, ...others] = extra[EXTRA + key] ?? [];
    if (value === undefined || value === '' || others.length > 0) throw unbound();
    return value;
  };
  return {
    namespace,
    serviceAccount,
    podName: only('pod-name'),
    podUid: only('pod-uid'),
    nodeName: only('node-name'),
    nodeUid: only('node-uid'),
  };
}

function unbound(): CarnetError {
  return refused(
    'the token is not bound to one pod on one node: it must be a projected one (volume source serviceAccountToken) of Kubernetes 1.30 or later',
  );
}

function refused(why: string): CarnetError {
  return new CarnetError('attestation_failed', `service account token: ${why}`);
}
