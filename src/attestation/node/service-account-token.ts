import type { JWTPayload } from 'jose';
import type { AttestedNode, NodeAttestor } from '../../agent/server/node-attestor.ts';
import type { Clock } from '../../clock.ts';
import { CarnetError } from '../../errors.ts';
import { type BoundToken, boundByClaims, boundByReview, type ReviewToken } from './bound-token.ts';
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

const METHOD = 'k8s_psat';
/** With what kube-apiserver signs: RSA keys, or EC ones on P-256, P-384, P-521. */
const ALGORITHMS: readonly TokenAlgorithm[] = ['RS256', 'ES256', 'ES384', 'ES512'];

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

function refused(why: string): CarnetError {
  return new CarnetError('attestation_failed', `${METHOD}: ${why}`);
}
