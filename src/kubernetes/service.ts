import { z } from 'zod';

/** A Service that selects pods by their labels. */
export interface Service {
  readonly namespace: string;
  readonly name: string;
  /** Not empty. */
  readonly selector: Readonly<Record<string, string>>;
}

const SERVICE = z.object({
  metadata: z.object({ namespace: z.string(), name: z.string() }),
  spec: z.object({ type: z.string().optional(), selector: z.record(z.string(), z.string()).default({}) }),
});

/** Reads a `v1` Service; null for one that no pod is behind: without a selector, or a name for something outside. */
export function serviceOf(object: unknown): Service | null {
  const { metadata, spec } = SERVICE.parse(object);
  if (spec.type === 'ExternalName' || Object.keys(spec.selector).length === 0) return null;
  return { ...metadata, selector: spec.selector };
}

/** The names by which others in the cluster call it (DNS-Based Service Discovery §2.3), but not the bare one, which every namespace has. */
export function dnsNamesOf({ namespace, name }: Service, clusterDomain: string): string[] {
  const short = `${name}.${namespace}`;
  return [short, `${short}.svc`, `${short}.svc.${clusterDomain}`];
}
