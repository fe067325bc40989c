import type { TrustBundle } from '../identity/trust-bundle.ts';
import type { KubernetesClient } from './client.ts';
import { Passes } from './passes.ts';
import { ResourceWatch } from './resource-watch.ts';
import { bundleConfigMap, CONFIG_MAP, clusterTrustBundle, namespaceOf, rootsPem } from './trust-bundle.ts';

export interface PublishOptions {
  readonly client: KubernetesClient;
  /** Throws while it has not been read. */
  readonly bundle: () => TrustBundle;
  /** Null where the API server has no ClusterTrustBundles. */
  readonly signerName: string | null;
  /** Label selector of the namespaces that get a ConfigMap; null for none. */
  readonly namespaces: string | null;
  /**
   * Where the cluster stands, after each pass: the sequence of the last bundle that is everywhere, and since when;
   * null before the first. A problem is why a pass did not get through.
   */
  readonly report: (published: Published | null, problem: string | null) => Promise<void>;
  readonly onFailed: (error: unknown, failures: number) => void;
  readonly now: () => number;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

export interface Published {
  readonly sequence: number;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

export interface BundlePublisher {
  /** The bundle has changed. */
  wake(): void;
  close(): Promise<void>;
}

const GATHER_MS = 100;
/** All is written anew this often, whoever may have changed it. */
const EVERY_MS = 60_000;
const MAX_NAMESPACES = 1_000;
const CONCURRENCY = 8;

/** Keeps the trust bundle in the cluster: as a ClusterTrustBundle, and as a ConfigMap in some namespaces. */
export function publishBundle(options: PublishOptions): BundlePublisher {
  const { client, namespaces: labelSelector, onFailed, random } = options;
  let published: Published | null = null;
  const passes = new Passes({
    work: async () => {
      // Without a place to put it nobody takes his trust from the cluster, and no rotation is to wait for it.
      if (options.signerName === null && namespaces === null) return;
      try {
        const sequence = await publish(options, [...(namespaces?.objects.values() ?? [])]);
        if (published?.sequence !== sequence) published = { sequence, at: options.now() };
        await options.report(published, null);
      } catch (error) {
        await options.report(published, (error as Error).message);
        throw error;
      }
    },
    gatherMs: GATHER_MS,
    everyMs: EVERY_MS,
    onFailed,
    random,
  });
  const namespaces =
    labelSelector === null
      ? null
      : new ResourceWatch({
          client,
          path: '/api/v1/namespaces',
          query: { labelSelector },
          view: namespaceOf,
          maxObjects: MAX_NAMESPACES,
          onChange: () => passes.wake(),
          onFailed,
          random,
        });
  return {
    wake: () => passes.wake(),
    close: async () => {
      await namespaces?.close();
      await passes.close();
    },
  };
}

/** Everything is tried, though something fails. Resolves with the sequence of what is everywhere now. */
async function publish(options: PublishOptions, namespaces: readonly string[]): Promise<number> {
  const { client, signerName } = options;
  const bundle = options.bundle();
  const pem = rootsPem(bundle);
  const writes = namespaces.map((namespace) => ({
    path: `/api/v1/namespaces/${namespace}/configmaps/${CONFIG_MAP}`,
    object: bundleConfigMap(namespace, pem) as object,
  }));
  if (signerName !== null) {
    const object = clusterTrustBundle(signerName, pem);
    const path = `/apis/certificates.k8s.io/v1beta1/clustertrustbundles/${object.metadata.name}`;
    writes.unshift({ path, object });
  }
  const todo = writes.values();
  const failures: unknown[] = [];
  const worker = async (): Promise<void> => {
    for (const { path, object } of todo)
      await client.apply(path, object).catch((error: unknown) => failures.push(error));
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, worker));
  if (failures.length > 0) throw failures[0];
  return bundle.sequence;
}
