/** What a runtime calls a container's own cgroup: `docker-<id>.scope`, `crio-<id>`, or the bare ID. */
const CONTAINER =
  /^(?:(?:docker|cri-containerd|containerd|nerdctl|crio|libpod)-|[^:]*:(?:cri-containerd|crio):)?([0-9a-f]{64})(?:\.scope)?$/;

/**
 * The parents under which only the host's root makes cgroups: systemd's slices except users' ones, the
 * roots that runtimes and kubelet make where they don't use systemd, and the pods and tasks in those.
 * `containerd.service` holds containers where the drivers of kubelet and containerd differ.
 */
const PARENTS = [
  /^(?!user(?:-\d+)?\.slice$)[^/]+\.slice$/,
  /^(?:docker|kubelet|kubepods|burstable|besteffort|libpod_parent|ecs|containerd\.service)$/,
  /^(?:pod)?[0-9a-f-]{32,36}$/,
];

/** Kubelet's name for a pod's cgroup: `pod<UID>`, or a slice that ends so and writes the UID's dashes as underscores. */
const POD =
  /^(?:pod|[^/:]*-pod)([0-9a-f]{32}|[0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12})(?:\.slice(?::.*)?)?$/;

/** A container, as the names of its cgroups tell of it. */
export interface ContainerCgroup {
  /** 64 hex digits. */
  readonly id: string;
  /** The pod's UID, or for a static pod the hash of its manifest; null where no cgroup around it is a pod's. */
  readonly podUid: string | null;
}

/**
 * The container that a process is in, from the lines of /proc/<pid>/cgroup (cgroups(7), v1 and v2), or null.
 *
 * A name is only as good as whoever could make it. A user has a subtree of his own below `user.slice`, a
 * service may have one below its unit, and a container may make cgroups inside of its own; in each a
 * directory can be named after another container. So the walk goes from the root inwards, only through
 * parents that are the host's, and ends at the first container: what is below it, below a user or below a
 * stranger counts for nothing. A rootless container, then, is to us a process of its user. Leading `..`
 * are what the kernel shows of cgroups outside of our own cgroup namespace.
 *
 * The hierarchies of v1 must agree: where two of them name different containers or pods, neither is believed.
 * One that names no pod doesn't contradict.
 */
export function containerOf(cgroups: readonly string[]): ContainerCgroup | null {
  const found = cgroups
    .map((line) => containerOfPath(line.split(':').slice(2).join(':')))
    .filter((container) => container !== null);
  const ids = new Set(found.map(({ id }) => id));
  const podUids = new Set(found.flatMap(({ podUid }) => podUid ?? []));
  const [id] = ids;
  const [podUid = null] = podUids;
  return id === undefined || ids.size > 1 || podUids.size > 1 ? null : { id, podUid };
}

function containerOfPath(path: string): ContainerCgroup | null {
  const segments = path.split('/').slice(1);
  while (segments[0] === '..') segments.shift();
  let podUid: string | null = null;
  for (const segment of segments) {
    podUid = POD.exec(segment)?.[1]?.replaceAll('_', '-') ?? podUid;
    const [, id] = CONTAINER.exec(segment) ?? [];
    if (id !== undefined) return { id, podUid };
    if (!PARENTS.some((parent) => parent.test(segment))) return null;
  }
  return null;
}
