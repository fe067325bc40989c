import type { JWTPayload } from 'jose';
import { z } from 'zod';
import type { AttestedNode, NodeAttestor } from '../../agent/server/node-attestor.ts';
import type { Clock } from '../../clock.ts';
import { CarnetError } from '../../errors.ts';
import { nodeNameOf } from './node-name.ts';
import { nodeSelectors } from './node-selectors.ts';
import type { TokenKeys } from './token-keys.ts';
import {
  checkClaims,
  peekClaims,
  readToken,
  type TokenAlgorithm,
  type TokenRules,
  verifyToken,
} from './verify-token.ts';

/** One Kubernetes cluster, whose nodes are let in. */
export interface Cluster extends TokenRules {
  readonly name: string;
  readonly namePrefix: string;
  /** `<namespace>/<name>` of agents' service accounts. */
  readonly serviceAccounts: ReadonlySet<string>;
  /** Who verifies tokens: the cluster's API server, or we by its keys. */
  readonly verifier: { readonly review: ReviewToken } | { readonly keys: TokenKeys };
}

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

const METHOD = 'k8s_psat';
/** With what kube-apiserver signs: RSA keys, or EC ones on P-256, P-384, P-521. */
const ALGORITHMS: readonly TokenAlgorithm[] = ['RS256', 'ES256', 'ES384', 'ES512'];

/** Who showed the token, all by the cluster's word. */
interface BoundToken {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly podName: string;
  readonly podUid: string;
  readonly nodeName: string;
  readonly nodeUid: string;
}

/**
 * Attests a node by the projected service-account token of its agent's pod: the cluster says which pod on which node
 * holds it, and the node is named after that one. The token must be for our audience, young, and of an allowed service
 * account. A token can be shown again while it lives, so that an agent can restart. Throws `attestation_failed`,
 * `node_token_expired`, `node_token_audience`; `unavailable` where the cluster can't be asked.
 */
export function createServiceAccountAttestor(clusters: readonly Cluster[], clock: Clock): NodeAttestor {
  return {
    method: METHOD,
    attest: async (payload) => {
      const token = readToken(METHOD, payload);
      const claims = peekClaims(METHOD, token);
      const cluster = clusterOf(clusters, claims);
      const bound = await verify(cluster, token, claims, clock());
      const account = `${bound.namespace}/${bound.serviceAccount}`;
      if (!cluster.serviceAccounts.has(account))
        throw refused(`service account ${account} is none of those that agents of ${cluster.name} run as`);
      return nodeOf(cluster, bound);
    },
  };
}

/** With one cluster there is no question; with several, each has an issuer of its own. */
function clusterOf(clusters: readonly Cluster[], { iss }: JWTPayload): Cluster {
  const [only] = clusters;
  const found = clusters.length === 1 ? only : clusters.find(({ issuer }) => issuer === iss);
  if (found === undefined)
    throw refused(`the token's issuer ${JSON.stringify(String(iss).slice(0, 100))} is none of our clusters'`);
  return found;
}

async function verify(cluster: Cluster, token: string, claims: JWTPayload, now: number): Promise<BoundToken> {
  if ('keys' in cluster.verifier) {
    const verified = await verifyToken(
      METHOD,
      token,
      { keys: cluster.verifier.keys, algorithms: ALGORITHMS },
      cluster,
      now,
    );
    return boundByClaims(verified);
  }
  // What could not pass isn't shown to the API server. That the claims are what was signed, it then says.
  checkClaims(METHOD, claims, cluster, now);
  return boundByReview(await cluster.verifier.review(token, cluster.audience), cluster.audience);
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

function boundByClaims(claims: JWTPayload): BoundToken {
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

function boundByReview({ username, error, audiences, extra }: TokenReview, audience: string): BoundToken {
  if (username === null)
    throw refused(
      `the API server does not take the token: ${(error ?? 'it does not say why').slice(0, 300)}`,
    );
  // An API server that knows nothing of audiences would take a token for anybody (TokenReviewStatus.audiences).
  if (!audiences.includes(audience))
    throw new CarnetError(
      'node_token_audience',
      `${METHOD}: the API server does not say that the token is for ${audience}`,
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

function nodeOf({ name, namePrefix }: Cluster, bound: BoundToken): AttestedNode {
  return {
    name: nodeNameOf(METHOD, namePrefix, bound.nodeName),
    selectors: nodeSelectors([
      ['k8s:cluster', name],
      ['k8s:ns', bound.namespace],
      ['k8s:sa', bound.serviceAccount],
      ['k8s:pod-name', bound.podName],
      ['k8s:pod-uid', bound.podUid],
      ['k8s:node-name', bound.nodeName],
      ['k8s:node-uid', bound.nodeUid],
    ]),
    evidence: {
      cluster: name,
      service_account: `${bound.namespace}/${bound.serviceAccount}`,
      pod_name: bound.podName,
      pod_uid: bound.podUid,
      node_name: bound.nodeName,
      node_uid: bound.nodeUid,
    },
    reattestable: true,
  };
}

function unbound(): CarnetError {
  return refused(
    'the token is not bound to one pod on one node: it must be a projected one (volume source serviceAccountToken) of Kubernetes 1.30 or later',
  );
}

function refused(why: string): CarnetError {
  return new CarnetError('attestation_failed', `${METHOD}: ${why}`);
}
