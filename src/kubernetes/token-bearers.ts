import type { Attestation } from '../attestation/attestation.ts';
import type { BoundToken } from '../attestation/node/bound-token.ts';
import { CarnetError, isRetryable } from '../errors.ts';
import { parseSelector } from '../identity/selector.ts';
import type { ServiceAccount, TokenBearer } from '../istio/create-certificate.ts';
import type { KubernetesClient } from './client.ts';
import { podOf } from './pod.ts';
import { attestPod } from './pod-claim.ts';

export interface TokenBearers {
  /** The pod that a projected token is bound to, as it is now. Throws `unauthenticated`; `unavailable` and its like. */
  authenticate(token: string): Promise<TokenBearer>;
  /**
   * What runs on a node under a service account: what all its pods have in common, and so no pod's own name or labels.
   * Undefined when there is none. Needs `list` on pods.
   */
  runningOn(node: string, account: ServiceAccount): Promise<Attestation | undefined>;
}

/** Whoever shows a service account's token: `review` says what it is bound to, by the word of the API server. */
export function createTokenBearers(
  client: KubernetesClient,
  review: (token: string) => Promise<BoundToken>,
): TokenBearers {
  return {
    authenticate: async (token) => {
      try {
        const bound = await review(token);
        const { namespace, serviceAccount, podName, podUid, nodeName } = bound;
        const claim = { namespace, serviceAccount, podName, podUid, node: nodeName };
        const { attestation, node } = await attestPod(claim, client, { kind: 'service account token' });
        return { attestation, node, serviceAccount: { namespace, name: serviceAccount } };
      } catch (cause) {
        if (!(cause instanceof CarnetError) || isRetryable(cause)) throw cause;
        throw new CarnetError('unauthenticated', `the token is not accepted: ${cause.message}`, { cause });
      }
    },
    runningOn: async (node, { namespace, name }) => {
      const query = { fieldSelector: `spec.nodeName=${node}` };
      const { items } = (await client.get(`/api/v1/namespaces/${namespace}/pods`, query)) as {
        items: readonly unknown[];
      };
      const running = items.map(podOf).filter((pod) => pod.serviceAccount === name && !pod.ended);
      if (running.length === 0) return undefined;
      return {
        instance: `node:${node}:${namespace}/${name}`,
        selectors: [`k8s:node-name:${node}`, `k8s:ns:${namespace}`, `k8s:sa:${name}`].map(parseSelector),
        evidence: { kubernetes: { namespace, service_account: name, node, pods: running.length } },
      };
    },
  };
}
