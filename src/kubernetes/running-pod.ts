import { z } from 'zod';
import { type Pod, podOf } from './pod.ts';

/** A pod, with what an agent may claim of one of its containers. */
export interface RunningPod extends Pod {
  /** Names of all its containers, those that initialise it and those that debug it too. */
  readonly containers: readonly string[];
  /** Of a static pod, what its kubelet knows it by; else null. */
  readonly manifestHash: string | null;
}

/** What kubelet writes on the pod that stands for a static one in the API (k8s.io/kubernetes/pkg/kubelet/types). */
const MIRROR = 'kubernetes.io/config.mirror';

const NAMED = z.array(z.object({ name: z.string() })).nullish();
const REST = z.object({
  metadata: z.object({ annotations: z.record(z.string(), z.string()).nullish() }),
  spec: z.object({ containers: NAMED, initContainers: NAMED, ephemeralContainers: NAMED }),
});

/** Reads a `v1` Pod as the API server sends it. */
export function runningPodOf(object: unknown): RunningPod {
  const { metadata, spec } = REST.parse(object);
  const containers = [spec.containers, spec.initContainers, spec.ephemeralContainers];
  return {
    ...podOf(object),
    containers: containers.flatMap((some) => some ?? []).map(({ name }) => name),
    manifestHash: metadata.annotations?.[MIRROR] ?? null,
  };
}
