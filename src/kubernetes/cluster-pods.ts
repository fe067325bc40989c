import { setTimeout as sleep } from 'node:timers/promises';
import { CarnetError } from '../errors.ts';
import { ApiError, type KubernetesClient } from './client.ts';
import { ResourceWatch } from './resource-watch.ts';
import { type RunningPod, runningPodOf } from './running-pod.ts';

export interface ClusterPodsOptions {
  readonly client: KubernetesClient;
  /** The watch could not go on and is tried again; `failures` is which in a row. */
  readonly onFailed: (error: unknown, failures: number) => void;
  /** Uniform in [0, 1). */
  readonly random: () => number;
  /** How long one answer is waited for; the others of a batch wait as long. */
  readonly askTimeoutMs?: number;
}

/** Which pod is meant, by valid names. */
export interface PodName {
  readonly namespace: string;
  readonly name: string;
}

/** More than Kubernetes is made for (150,000), at 720 bytes each (measured). Those beyond are asked for one by one. */
const MAX_PODS = 200_000;
/** Ours: what has not been heard of yet comes by the watch within moments, so few are ever asked for. */
const MAX_ASKED = 64;
const ASK_TIMEOUT_MS = 3000;

/**
 * All pods of the cluster, by the API server's word: from memory as they were last heard of, also while the API server is
 * away; and one by one as they are now. Needs `get`, `list` and `watch` on pods.
 */
export class ClusterPods {
  readonly #client: KubernetesClient;
  readonly #watch: ResourceWatch<RunningPod>;
  readonly #askTimeoutMs: number;
  readonly #asked = new Map<string, Promise<RunningPod | null>>();

  constructor({ client, onFailed, random, askTimeoutMs = ASK_TIMEOUT_MS }: ClusterPodsOptions) {
    this.#client = client;
    this.#askTimeoutMs = askTimeoutMs;
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
  known(pod: PodName): RunningPod | undefined {
    return this.#watch.objects.get(keyOf(pod));
  }

  /** Null for a pod that there is not. Throws `unavailable`, `overloaded`. */
  async ask(pod: PodName): Promise<RunningPod | null> {
    const answer = this.#get(pod);
    const inTime = new AbortController();
    const late = sleep(this.#askTimeoutMs, undefined, { signal: inTime.signal }).then(() => {
      throw unanswered(pod, `it has not answered within ${this.#askTimeoutMs} ms`);
    });
    return Promise.race([answer, late]).finally(() => inTime.abort());
  }

  async close(): Promise<void> {
    await this.#watch.close();
  }

  /** Those that ask for one pod at a time share the answer. */
  #get(pod: PodName): Promise<RunningPod | null> {
    const key = keyOf(pod);
    const asked = this.#asked.get(key);
    if (asked !== undefined) return asked;
    if (this.#asked.size >= MAX_ASKED)
      throw new CarnetError('overloaded', `${MAX_ASKED} pods are being asked for: try again later`);
    const answer = this.#client
      .get(`/api/v1/namespaces/${pod.namespace}/pods/${pod.name}`)
      .then(runningPodOf, (error: unknown) => {
        if (error instanceof ApiError && error.status === 404) return null;
        throw error instanceof CarnetError ? unanswered(pod, error.message, error) : error;
      })
      .finally(() => this.#asked.delete(key));
    this.#asked.set(key, answer);
    return answer;
  }
}

function keyOf({ namespace, name }: PodName): string {
  return `${namespace}/${name}`;
}

function unanswered(pod: PodName, why: string, cause?: unknown): CarnetError {
  return new CarnetError('unavailable', `the API server can't be asked about the pod ${keyOf(pod)}: ${why}`, {
    cause,
  });
}
