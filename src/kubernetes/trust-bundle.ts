import { z } from 'zod';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import { encodePem } from '../x509/pem.ts';

/** Of the ConfigMap, in each namespace that has one, and of its only key. */
export const CONFIG_MAP = 'carnet-trust-bundle';
export const CONFIG_MAP_KEY = 'bundle.pem';

/** The roots that are trusted now, PEM. */
export function rootsPem({ x509Authorities }: TrustBundle): string {
  return x509Authorities.map((der) => encodePem('CERTIFICATE', der)).join('');
}

/** A `certificates.k8s.io/v1beta1` ClusterTrustBundle, whose name begins with its signer's as the API server wants it. */
export function clusterTrustBundle(signerName: string, pem: string) {
  return {
    apiVersion: 'certificates.k8s.io/v1beta1',
    kind: 'ClusterTrustBundle',
    metadata: { name: `${signerName.replace('/', ':')}:trust-bundle` },
    spec: { signerName, trustBundle: pem },
  };
}

/** The same for clusters without ClusterTrustBundles, in one namespace. */
export function bundleConfigMap(namespace: string, pem: string) {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { namespace, name: CONFIG_MAP },
    data: { [CONFIG_MAP_KEY]: pem },
  };
}

const NAMESPACE = z.object({
  metadata: z.object({ name: z.string(), deletionTimestamp: z.string().optional() }),
});

/** The name of a `v1` Namespace; null for one that is going, in which nothing can be made. */
export function namespaceOf(object: unknown): string | null {
  const { metadata } = NAMESPACE.parse(object);
  return metadata.deletionTimestamp === undefined ? metadata.name : null;
}
