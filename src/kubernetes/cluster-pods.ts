import type { KubernetesClient } from './client.ts';
import type { LookUp } from './look-up.ts';
import { ResourceWatch } from './resource-watch.ts';
import { type RunningPod, runningPodOf } from './running-pod.ts';

export interface ClusterPodsOptions {
  readonly client: KubernetesClient;
  readonly lookUp: LookUp;
  /** The watch could not go on and is tried again; `failures` is which in a row. */
  readonly onFailed: (error: unknown, failures: number) => void;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** Which pod is meant, by valid names. */
export interface PodName {
  readonly namespace: string;
  readonly name: string;
}

/** More than Kubernetes is made for (150,000), at 720 bytes each (measured). Those beyond are asked for one by one. */
const MAX_PODS = 200_000;

/**
 * All pods of the cluster, by the API server's word: from memory as they were last heard of, also while the API server is
 * away; and one by one as they are now. Needs `get`, `list` and `watch` on pods.
 */
export class ClusterPods {
  readonly #lookUp: LookUp;
  readonly #watch: ResourceWatch<RunningPod>;

  constructor({ client, lookUp, onFailed, random }: ClusterPodsOptions) {
    this.#lookUp = lookUp;
    this.#watch = new ResourceWatch({
      client,
      path: '/api/v1/pods',
      view: runningPodOf,
      maxObjects: MAX_PODS,
      onChange: () => undefined,
      onFailed,
      random,
    });
  }

  /** Undefined for a pod that has not been heard of. */
  known({ namespace, name }: PodName): RunningPod | undefined {
    return this.#watch.objects.get(`${namespace}/${name}`);
  }

  /** Null for a pod that there is not. Throws as {@link LookUp.find} does. */
  async ask({ namespace, name }: PodName): Promise<RunningPod | null> {
    const path = `/api/v1/namespaces/${namespace}/pods/${name}`;
    const found = await this.#lookUp.find(path, `the pod ${namespace}/${name}`);
    return found === null ? null : runningPodOf(found);
  }

  async close(): Promise<void> {
    await this.#watch.close();
  }
}
