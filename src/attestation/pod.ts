import { z } from 'zod';

/** What is kept of a pod: who it is by Kubernetes' word, and its containers by their IDs. */
export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  /** Of a static pod, the hash of its manifest, after which kubelet names its cgroup; else null. */
  readonly manifestHash: string | null;
  readonly serviceAccount: string;
  readonly nodeName: string;
  readonly labels: readonly (readonly [key: string, value: string])[];
  readonly containers: readonly PodContainer[];
}

export interface PodContainer {
  readonly name: string;
  /** 64 hex digits. */
  readonly id: string;
  /** As the runtime names it, for example `docker.io/library/nginx:1.29`. */
  readonly image: string;
  /** Of the image's manifest, `sha256:<hex>`; null where the runtime tells none. */
  readonly imageDigest: string | null;
}

/** What kubelet writes on the pod that stands for a static one in the API (k8s.io/kubernetes/pkg/kubelet/types). */
const MIRROR = 'kubernetes.io/config.mirror';
/** `containerd://<id>`, `cri-o://<id>`, `docker://<id>`. */
const CONTAINER_ID = /^[a-z0-9-]+:\/\/([0-9a-f]{64})$/;
/**
 * `docker.io/library/nginx@sha256:…`, with `docker-pullable://` before it under Docker. A bare `sha256:…` names the
 * image's configuration and not what a registry knows it by.
 */
const IMAGE_DIGEST = /@(sha256:[0-9a-f]{64})$/;

const STATUSES = z
  .array(
    z.object({
      name: z.string(),
      image: z.string(),
      imageID: z.string(),
      containerID: z.string().optional(),
    }),
  )
  .nullish();

const POD = z.object({
  metadata: z.object({
    namespace: z.string(),
    name: z.string(),
    uid: z.string(),
    labels: z.record(z.string(), z.string()).nullish(),
    annotations: z.record(z.string(), z.string()).nullish(),
  }),
  spec: z.object({ serviceAccountName: z.string().optional(), nodeName: z.string().optional() }),
  status: z.object({
    containerStatuses: STATUSES,
    initContainerStatuses: STATUSES,
    ephemeralContainerStatuses: STATUSES,
  }),
});

/**
 * Reads a pod (core/v1) as kubelet or the API server tells of it; null for what isn't one. Containers that haven't
 * started have no ID, and are left out.
 */
export function parsePod(object: unknown): Pod | null {
  const { data } = POD.safeParse(object);
  if (data === undefined) return null;
  const { metadata, spec, status } = data;
  const statuses = [
    ...(status.initContainerStatuses ?? []),
    ...(status.containerStatuses ?? []),
    ...(status.ephemeralContainerStatuses ?? []),
  ];
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    uid: metadata.uid,
    manifestHash: metadata.annotations?.[MIRROR] ?? null,
    serviceAccount: spec.serviceAccountName ?? '',
    nodeName: spec.nodeName ?? '',
    labels: Object.entries(metadata.labels ?? {}),
    containers: statuses.flatMap(({ name, image, imageID, containerID }) => {
      const [, id] = CONTAINER_ID.exec(containerID ?? '') ?? [];
      return id === undefined
        ? []
        : [{ name, id, image, imageDigest: IMAGE_DIGEST.exec(imageID)?.[1] ?? null }];
    }),
  };
}
