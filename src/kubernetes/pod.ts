import { z } from 'zod';
import { parseSelector, type Selector } from '../identity/selector.ts';

/** What we keep of a pod. */
export interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly serviceAccount: string;
  /** Null until it is scheduled. */
  readonly node: string | null;
  readonly labels: Readonly<Record<string, string>>;
  /** Succeeded or Failed: none of its containers runs again. */
  readonly ended: boolean;
}

const POD = z.object({
  metadata: z.object({
    namespace: z.string(),
    name: z.string(),
    uid: z.string(),
    labels: z.record(z.string(), z.string()).default({}),
  }),
  spec: z.object({ nodeName: z.string().nullish(), serviceAccountName: z.string().default('default') }),
  status: z.object({ phase: z.string().optional() }).default({}),
});

/** Reads a `v1` Pod as the API server sends it. */
export function podOf(object: unknown): Pod {
  const { metadata, spec, status } = POD.parse(object);
  return {
    namespace: metadata.namespace,
    name: metadata.name,
    uid: metadata.uid,
    serviceAccount: spec.serviceAccountName,
    node: spec.nodeName ?? null,
    labels: metadata.labels,
    ended: status.phase === 'Succeeded' || status.phase === 'Failed',
  };
}

/** The selectors that any container of the pod has, sorted. */
export function selectorsOfPod(pod: Pod): Selector[] {
  const facts = [
    `k8s:ns:${pod.namespace}`,
    `k8s:sa:${pod.serviceAccount}`,
    `k8s:pod-name:${pod.name}`,
    `k8s:pod-uid:${pod.uid}`,
    ...(pod.node === null ? [] : [`k8s:node-name:${pod.node}`]),
    ...labelSelectors(pod.labels),
  ];
  return facts.map(parseSelector).sort();
}

/** `k8s:pod-label:<key>:<value>` of each. */
export function labelSelectors(labels: Readonly<Record<string, string>>): string[] {
  return Object.entries(labels).map(([key, value]) => `k8s:pod-label:${key}:${value}`);
}

/** Whether all of `wanted` are among the labels; nothing wanted is had by every pod. */
export function hasLabels(
  labels: Readonly<Record<string, string>>,
  wanted: Readonly<Record<string, string>>,
): boolean {
  return Object.entries(wanted).every(([key, value]) => labels[key] === value);
}
