import type { ConfirmWorkload } from '../agent/server/issue-service.ts';
import type { ServerConfig } from '../config.ts';
import { openAccess } from '../kubernetes/access.ts';
import { KubernetesClient } from '../kubernetes/client.ts';
import { ClusterNodes } from '../kubernetes/cluster-nodes.ts';
import { ClusterPods } from '../kubernetes/cluster-pods.ts';
import { createConfirmWorkload } from '../kubernetes/confirm-workload.ts';
import { LookUp } from '../kubernetes/look-up.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import { failureLog } from './start-kubernetes.ts';

export interface Confirmation extends AsyncDisposable {
  readonly confirm: ConfirmWorkload;
}

/**
 * What agents say of pods is confirmed by the cluster's API server, in each server for itself. Null without
 * `--kubernetes`: then it is their word. Throws `config_invalid`.
 */
export function confirmByCluster(
  { kubernetes }: Pick<ServerConfig, 'kubernetes'>,
  told: { readonly log: Logger; readonly metrics: Metrics },
): Confirmation | null {
  if (kubernetes === null) return null;
  const client = new KubernetesClient(openAccess(kubernetes, process.env), Math.random);
  const lookUp = new LookUp(client);
  const pods = new ClusterPods({ client, lookUp, onFailed: failureLog(told, 'pods'), random: Math.random });
  return {
    confirm: createConfirmWorkload(pods, new ClusterNodes(lookUp, () => performance.now())),
    [Symbol.asyncDispose]: async () => {
      await pods.close();
      client.close();
    },
  };
}
