import { setTimeout as pause } from 'node:timers/promises';
import { CarnetError } from '../errors.ts';
import type { ContainerCgroup } from './container-id.ts';
import { type Findings, type Found, foundSelectors, type WorkloadAttestor } from './findings.ts';
import type { Pod, PodContainer } from './pod.ts';

/** Who knows the pods of this node: its kubelet, or the API server. */
export interface PodSource {
  /** As it is named in evidence and errors. */
  readonly name: string;
  /** The pods as they are, or were at most `maxAgeMs` ago. Answers in bounded time. */
  current(maxAgeMs: number): Promise<KnownPods>;
}

export interface KnownPods {
  readonly pods: Iterable<Pod>;
  /** Why these may be older than was asked for; null where they aren't. */
  readonly problem: CarnetError | null;
}

export interface KubernetesWaiting {
  /** How long a container that isn't known yet is waited for. */
  readonly timeoutMs: number;
  /** Between two looks, from the first on; each pause is twice the one before. */
  readonly firstPauseMs: number;
  readonly longestPauseMs: number;
}

/** Ours. Kubelet shows a new container within a second or two of its start. */
export const KUBERNETES_WAITING: KubernetesWaiting = {
  timeoutMs: 5000,
  firstPauseMs: 100,
  longestPauseMs: 1000,
};
/** Ours: how old a label may be that counts for a new connection. */
const MAX_AGE_MS = 1000;
/** Ours: those that wait share what one of them was told. */
const MAX_AGE_WAITING_MS = 100;
/** Ours: labels beyond, by their keys' order, are left out, which can only take grants away. */
const MAX_LABELS = 128;

/**
 * Attests the containers of Kubernetes pods. The kernel says in which container of which pod a process is, by its
 * cgroup; the source says what pod that is, and must say the same of the container. So a pod's status, which
 * others than kubelet may be allowed to write, can't make a container part of another pod.
 *
 * A container in a pod's cgroup that isn't known yet is waited for, then `unavailable` is thrown. One outside of a
 * pod's cgroup (or in our own pod, of which a cgroup namespace hides the name) is looked for once. While the source
 * doesn't answer, what it told last counts: a container keeps its pod for life, and only labels can be out of date.
 */
export function createKubernetesAttestor(
  source: PodSource,
  waiting: KubernetesWaiting = KUBERNETES_WAITING,
): WorkloadAttestor {
  return {
    method: 'kubernetes',
    attest: async ({ container }) => {
      if (container === null) return null;
      const known = await awaitPod(source, container, waiting);
      return known === null ? null : findings(known, source.name);
    },
  };
}

interface KnownContainer {
  readonly pod: Pod;
  readonly container: PodContainer;
}

async function awaitPod(
  source: PodSource,
  wanted: ContainerCgroup,
  waiting: KubernetesWaiting,
): Promise<KnownContainer | null> {
  const deadline = performance.now() + waiting.timeoutMs;
  let pauseMs = waiting.firstPauseMs;
  for (let look = 1; ; look++) {
    const { pods, problem } = await source.current(look === 1 ? MAX_AGE_MS : MAX_AGE_WAITING_MS);
    const found = findContainer(pods, wanted, source.name);
    if (found !== null) return found;
    // What the first look sees may be older than the container.
    if (look === 1) continue;
    if (wanted.podUid === null && problem === null) return null;
    if (performance.now() + pauseMs > deadline) throw unknown(source, wanted, waiting, problem);
    await pause(pauseMs);
    pauseMs = Math.min(waiting.longestPauseMs, pauseMs * 2);
  }
}

function findContainer(
  pods: Iterable<Pod>,
  wanted: ContainerCgroup,
  sourceName: string,
): KnownContainer | null {
  const found: KnownContainer[] = [];
  for (const pod of pods) {
    const container = pod.containers.find(({ id }) => id === wanted.id);
    if (container !== undefined && isPod(pod, wanted.podUid)) found.push({ pod, container });
  }
  if (found.length > 1)
    throw new CarnetError(
      'attestation_failed',
      `${sourceName} tells of container ${wanted.id} in several pods: ${found.map(({ pod }) => pod.uid).join(', ')}`,
    );
  return found[0] ?? null;
}

function isPod({ uid, manifestHash }: Pod, cgroupUid: string | null): boolean {
  // A hash has no dashes and a UID has: neither can stand for the other.
  return cgroupUid === null || uid === cgroupUid || (manifestHash === cgroupUid && !cgroupUid.includes('-'));
}

function unknown(
  source: PodSource,
  { id, podUid }: ContainerCgroup,
  { timeoutMs }: KubernetesWaiting,
  problem: CarnetError | null,
): CarnetError {
  if (problem !== null)
    return new CarnetError('unavailable', `container ${id} is not known yet: ${problem.message}`, {
      cause: problem,
    });
  return new CarnetError(
    'unavailable',
    `${source.name} has not told of container ${id} of pod ${podUid} within ${timeoutMs} ms; connect again`,
  );
}

function findings({ pod, container }: KnownContainer, sourceName: string): Findings {
  const labels = pod.labels.toSorted(([a], [b]) => (a < b ? -1 : 1)).slice(0, MAX_LABELS);
  const found: Found[] = [
    ['k8s:ns', pod.namespace],
    ['k8s:sa', pod.serviceAccount],
    ['k8s:pod-name', pod.name],
    ['k8s:pod-uid', pod.uid],
    ['k8s:node-name', pod.nodeName],
    ['k8s:container-name', container.name],
    ['k8s:container-image', container.image],
    ['k8s:container-image-digest', container.imageDigest],
    ...labels.map(([key, value]): Found => ['k8s:pod-label', `${key}:${value}`]),
  ];
  return {
    selectors: foundSelectors(found),
    evidence: {
      source: sourceName,
      namespace: pod.namespace,
      service_account: pod.serviceAccount,
      pod_name: pod.name,
      pod_uid: pod.uid,
      node_name: pod.nodeName,
      container_name: container.name,
      container_image: container.image.slice(0, 512),
      container_image_digest: container.imageDigest,
    },
  };
}
