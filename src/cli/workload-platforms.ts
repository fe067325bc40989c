import { hostname } from 'node:os';
import { createDockerAttestor } from '../attestation/docker.ts';
import type { WorkloadAttestor } from '../attestation/findings.ts';
import { createKubeletSource } from '../attestation/kubelet.ts';
import { createKubernetesAttestor, type PodSource } from '../attestation/kubernetes.ts';
import { parsePod } from '../attestation/pod.ts';
import { SYSTEMD_ATTESTOR } from '../attestation/systemd.ts';
import { type AttestationConfig, KUBELET_TOKEN_FILE } from '../attestation-settings.ts';
import { errorCodeOf } from '../errors.ts';
import { openAccess } from '../kubernetes/access.ts';
import { KubernetesClient } from '../kubernetes/client.ts';
import { watchPodsOfNode } from '../kubernetes/pods-of-node.ts';
import type { Logger } from '../log.ts';

export interface WorkloadPlatforms extends AsyncDisposable {
  readonly platforms: readonly WorkloadAttestor[];
}

/** What is asked about a workload besides the kernel, as the settings say. Throws `config_invalid`. */
export function openPlatforms(config: AttestationConfig, log: Pick<Logger, 'warn'>): WorkloadPlatforms {
  const stack = new AsyncDisposableStack();
  const platforms: WorkloadAttestor[] = [SYSTEMD_ATTESTOR];
  if (config.podsFrom !== null)
    platforms.push(createKubernetesAttestor(openPodSource(config, config.podsFrom, log, stack)));
  if (config.dockerSocket !== null) platforms.push(createDockerAttestor(config.dockerSocket));
  return { platforms, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

function openPodSource(
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
