import { hostname } from 'node:os';
import { createKubeletSource } from '../attestation/kubelet.ts';
import type { PodSource } from '../attestation/kubernetes.ts';
import { parsePod } from '../attestation/pod.ts';
import { type AttestationConfig, KUBELET_TOKEN_FILE } from '../attestation-settings.ts';
import { errorCodeOf } from '../errors.ts';
import { openAccess } from '../kubernetes/access.ts';
import { KubernetesClient } from '../kubernetes/client.ts';
import { watchPodsOfNode } from '../kubernetes/pods-of-node.ts';
import type { Logger } from '../log.ts';

/** Where this node's pods are told of: `kubelet`, `in-cluster`, or by the path of a kubeconfig. */
export function openPodSource(
  config: AttestationConfig,
  where: string,
  log: Pick<Logger, 'warn'>,
  stack: AsyncDisposableStack,
): PodSource {
  const node = config.kubernetesNode ?? hostname();
  if (where === 'kubelet')
    return createKubeletSource({
      url: config.kubeletUrl ?? new URL(`https://${node}:10250`),
      caFile: config.kubeletCaFile,
      tokenFile: KUBELET_TOKEN_FILE,
    });
  const client = new KubernetesClient(openAccess(where, process.env), Math.random);
  stack.defer(() => client.close());
  const pods = watchPodsOfNode({
    client,
    node,
    parsePod,
    onFailed: (error, failures) => {
      // The first failure in a row is worth a line, then each doubling.
      if (Number.isInteger(Math.log2(failures)))
        log.warn(
          { code: errorCodeOf(error), reason: (error as Error).message, failures },
          "this node's pods can't be watched",
        );
    },
    random: Math.random,
  });
  stack.defer(() => pods.close());
  return pods;
}
