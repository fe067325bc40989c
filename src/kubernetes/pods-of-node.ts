import type { PodSource } from '../attestation/kubernetes.ts';
import type { Pod } from '../attestation/pod.ts';
import { CarnetError } from '../errors.ts';
import type { KubernetesClient } from './client.ts';
import { ResourceWatch } from './resource-watch.ts';

export interface PodsOfNodeOptions {
  readonly client: KubernetesClient;
  /** As `spec.nodeName` has it. */
  readonly node: string;
  /** What is kept of a pod. */
  readonly parsePod: (object: unknown) => Pod | null;
  /** The watch could not go on and is tried again; `failures` is which in a row. */
  readonly onFailed: (error: unknown, failures: number) => void;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/** Ours: kubelet runs some hundred pods at most. */
const MAX_PODS = 2048;

/**
 * The API server as the source of a node's pods: listed once, then watched, so that a question is answered from memory.
 * While the API server is away that is what it told last. Needs `list` and `watch` on pods.
 */
export function watchPodsOfNode({
  client,
  node,
  parsePod,
  onFailed,
  random,
}: PodsOfNodeOptions): PodSource & { close(): Promise<void> } {
  let failure: CarnetError | null = new CarnetError('unavailable', 'the API server has not listed pods yet');
  const watch = new ResourceWatch<Pod>({
    client,
    path: '/api/v1/pods',
    query: { fieldSelector: `spec.nodeName=${node}` },
    view: parsePod,
    maxObjects: MAX_PODS,
    onChange: () => {
      failure = null;
    },
    onFailed: (error, failures) => {
      failure =
        error instanceof CarnetError ? error : new CarnetError('internal', String(error), { cause: error });
      onFailed(error, failures);
    },
    random,
  });
  return {
    name: 'API server',
    current: async () => ({
      pods: watch.objects.values(),
      problem: watch.failures === 0 && watch.listed ? null : failure,
    }),
    close: () => watch.close(),
  };
}
