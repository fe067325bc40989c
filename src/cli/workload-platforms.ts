import type { WorkloadAttestor } from '../attestation/findings.ts';
import { createKubernetesAttestor } from '../attestation/kubernetes.ts';
import { SYSTEMD_ATTESTOR } from '../attestation/systemd.ts';
import type { AttestationConfig } from '../attestation-settings.ts';
import type { Logger } from '../log.ts';

export interface WorkloadPlatforms extends AsyncDisposable {
  readonly platforms: readonly WorkloadAttestor[];
}

/** What is asked about a workload besides the kernel, as the settings say. Throws `config_invalid`. */
export async function openPlatforms(
  config: AttestationConfig,
  log: Pick<Logger, 'warn'>,
): Promise<WorkloadPlatforms> {
  const stack = new AsyncDisposableStack();
  const platforms: WorkloadAttestor[] = [SYSTEMD_ATTESTOR];
  // Loaded where they are asked for: an agent of a machine without either has no room for them.
  if (config.podsFrom !== null) {
    const { openPodSource } = await import('./pod-source.ts');
    platforms.push(createKubernetesAttestor(openPodSource(config, config.podsFrom, log, stack)));
  }
  if (config.dockerSocket !== null) {
    const { createDockerAttestor } = await import('../attestation/docker.ts');
    platforms.push(createDockerAttestor(config.dockerSocket));
  }
  return { platforms, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}
