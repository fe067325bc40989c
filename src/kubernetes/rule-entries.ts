import { createHash } from 'node:crypto';
import { hasLabels, labelSelectors, type Pod } from './pod.ts';
import type { Rule, Rules } from './rules.ts';
import { dnsNamesOf, type Service } from './service.ts';

/**
 * Pods that a rule treats alike: those of one namespace that the same Services select. One entry serves them all,
 * because what else differs between them (service account, name, other labels) its placeholders fill in.
 */
export interface Group {
  readonly rule: Rule;
  readonly namespace: string;
  /** Names of Services, sorted; empty for the entry without DNS names, which every pod of the namespace matches. */
  readonly services: readonly string[];
}

/** An entry as it is written outside (policy/parse-entry.ts). */
export interface EntryDocument {
  readonly id: string;
  readonly spiffe_id: string;
  readonly selectors: readonly string[];
  readonly dns_names: readonly string[];
  readonly ttl?: string;
}

/** With three names each they fit an entry's 32. */
export const MAX_SERVICES = 10;
/** All entries of rules begin with it. */
export const ENTRY_PREFIX = 'k8s.';

/** The groups that there are pods for, by the ID of their entry. */
export function groupsOf(
  rules: readonly Rule[],
  pods: Iterable<Pod>,
  services: Iterable<Service>,
): Map<string, Group> {
  const byNamespace = Map.groupBy(services, ({ namespace }) => namespace);
  const groups = new Map<string, Group>();
  // Most pods are of a group that is known: an ID takes a hash, and this does not.
  const known = new Set<string>();
  for (const pod of pods) {
    if (pod.ended) continue;
    const { namespace, labels } = pod;
    const selecting = (byNamespace.get(namespace) ?? []).filter(({ selector }) =>
      hasLabels(labels, selector),
    );
    const names = selecting
      .map(({ name }) => name)
      .sort()
      .slice(0, MAX_SERVICES);
    for (const rule of rules) {
      if (!applies(rule, pod)) continue;
      for (const services of names.length > 0 && rule.serviceNames ? [[], names] : [[]]) {
        const key = [rule.name, namespace, ...services].join('\n');
        if (known.has(key)) continue;
        known.add(key);
        const group = { rule, namespace, services };
        groups.set(entryIdOf(group), group);
      }
    }
  }
  return groups;
}

function applies({ namespaces, labels }: Rule, pod: Pod): boolean {
  return (namespaces === null || namespaces.includes(pod.namespace)) && hasLabels(pod.labels, labels);
}

/**
 * The entry of a group; null where one of its Services is gone, so that no name outlives its Service. A pod matches
 * entries of fewer Services than select it too, but the one of all of them has the most selectors and stands.
 */
export function entryOf(
  group: Group,
  services: ReadonlyMap<string, Service>,
  { clusterDomain }: Pick<Rules, 'clusterDomain'>,
): EntryDocument | null {
  const { rule, namespace } = group;
  const found = group.services.map((name) => services.get(`${namespace}/${name}`));
  const behind = found.filter((service) => service !== undefined);
  if (behind.length < found.length) return null;
  const labels = [rule.labels, ...behind.map(({ selector }) => selector)].flatMap(labelSelectors);
  return {
    id: entryIdOf(group),
    spiffe_id: rule.spiffeId,
    selectors: [...new Set([`k8s:ns:${namespace}`, ...labels])],
    dns_names: behind.flatMap((service) => dnsNamesOf(service, clusterDomain)),
    ...(rule.ttl !== null && { ttl: rule.ttl }),
  };
}

/**
 * `k8s.label.<rule>.<namespace>` and, for one with Services, a hash of their names. Rules by label come before those
 * for all pods where entries are otherwise equal, and the first entry is the caller's `default`.
 */
function entryIdOf({ rule, namespace, services }: Group): string {
  const kind = Object.keys(rule.labels).length > 0 ? 'label' : 'pods';
  const hash = createHash('sha256').update(services.join('\n')).digest('hex').slice(0, 12);
  return `${ENTRY_PREFIX}${kind}.${rule.name}.${namespace}${services.length > 0 ? `.${hash}` : ''}`;
}

/** A group, and when there was last a pod of it. */
export interface SeenGroup {
  readonly group: Group;
  readonly seenAt: number;
}

/**
 * Groups that have pods, and those that had some within `lingerMs`: else the entry of a namespace in which only a
 * job runs now and then would come and go with each run, and each would be on record.
 */
export function keepRecent(
  before: ReadonlyMap<string, SeenGroup>,
  current: ReadonlyMap<string, Group>,
  now: number,
  lingerMs: number,
): Map<string, SeenGroup> {
  const kept = new Map([...before].filter(([, { seenAt }]) => now - seenAt < lingerMs));
  for (const [id, group] of current) kept.set(id, { group, seenAt: now });
  return kept;
}
