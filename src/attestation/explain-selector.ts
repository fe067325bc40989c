import type { Selector } from '../identity/selector.ts';

/** Whose word a kind of selector is, for people: by the beginnings of selectors. */
const SOURCES: readonly (readonly [prefix: string, says: string])[] = [
  ['unix:uid:', 'the kernel: the user that it runs as (SO_PEERCRED of a connection, /proc/PID/status)'],
  ['unix:gid:', 'the kernel: its group (likewise)'],
  ['unix:supplementary_gid:', 'the kernel: a further group (/proc/PID/status)'],
  ['unix:user:', "/etc/passwd: that user's name"],
  ['unix:group:', "/etc/group: that group's name"],
  ['unix:path:', 'the kernel: the file that runs (/proc/PID/exe), which its path leads to here too'],
  ['unix:sha256:', 'read here: the SHA-256 of that file'],
  ['container:id:', 'the kernel: the container whose cgroup it is in (/proc/PID/cgroup)'],
  ['systemd:unit:', 'the kernel: the system unit whose cgroup it is in (/proc/PID/cgroup)'],
  ['k8s:container-', "Kubernetes: the container of the pod's status that has this ID"],
  ['k8s:pod-label:', 'Kubernetes: a label of the pod, as it is now'],
  ['k8s:', 'Kubernetes: the pod whose cgroup the container is in'],
  ['docker:label:', 'Docker: a label of the container'],
  ['docker:', "Docker: the container's image"],
  ['node:', "the server: what attestation showed of the agent's node"],
];

/** Where a selector comes from, in a few words. */
export function sourceOf(selector: Selector): string {
  return SOURCES.find(([prefix]) => selector.startsWith(prefix))?.[1] ?? 'not known';
}
