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

/**
 * The ID (64 hex digits) of the container that a process is in, from the lines of /proc/<pid>/cgroup
 * (cgroups(7), v1 and v2), or null.
 *
 * A name is only as good as whoever could make it. A user has a subtree of his own below `user.slice`, a
 * service may have one below its unit, and a container may make cgroups inside of its own; in each a
 * directory can be named after another container. So the walk goes from the root inwards, only through
 * parents that are the host's, and ends at the first container: what is below it, below a user or below a
 * stranger counts for nothing. A rootless container, then, is to us a process of its user. Leading `..`
 * are what the kernel shows of cgroups outside of our own cgroup namespace.
 *
 * The hierarchies of v1 must agree: where two of them name different containers, neither is believed.
 */
export function containerIdOf(cgroups: readonly string[]): string | null {
  const ids = new Set(
    cgroups.map((line) => containerOfPath(line.split(':').slice(2).join(':'))).filter((id) => id !== null),
  );
  const [id = null] = ids;
  return ids.size === 1 ? id : null;
}

function containerOfPath(path: string): string | null {
  const segments = path.split('/').slice(1);
  while (segments[0] === '..') segments.shift();
  for (const segment of segments) {
    const [, id] = CONTAINER.exec(segment) ?? [];
    if (id !== undefined) return id;
    if (!PARENTS.some((parent) => parent.test(segment))) return null;
  }
  return null;
}
