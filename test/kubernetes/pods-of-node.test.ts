import test from 'ava';
import { createKubernetesAttestor } from '../../src/attestation/kubernetes.ts';
import { parsePod } from '../../src/attestation/pod.ts';
import type { ProcessFacts } from '../../src/attestation/process.ts';
import { openAccess } from '../../src/kubernetes/access.ts';
import { KubernetesClient } from '../../src/kubernetes/client.ts';
import { watchPodsOfNode } from '../../src/kubernetes/pods-of-node.ts';
import { containerId } from '../attestation/pods.ts';
import { type Cluster, clusterMissing, startCluster } from '../support/kubernetes.ts';

const missing = clusterMissing();
const onCluster = missing === null ? test.serial : test.serial.skip;
if (missing !== null) process.stderr.write(`test/kubernetes/pods-of-node: ${missing}\n`);

const WAITING = { timeoutMs: 60_000, firstPauseMs: 20, longestPauseMs: 100 };
const NOT_AT_ALL = { timeoutMs: 0, firstPauseMs: 1, longestPauseMs: 1 };

let cluster: Cluster;
let client: KubernetesClient;
let pods: ReturnType<typeof watchPodsOfNode>;

test.before(async () => {
  if (missing !== null) return;
  cluster = await startCluster();
  await cluster.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } });
  await cluster.apply({
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: 'web', namespace: 'shop' },
  });
  client = new KubernetesClient(openAccess(cluster.kubeconfig, {}), Math.random);
  pods = watchPodsOfNode({
    client,
    node: 'node-1',
    parsePod,
    onFailed: () => undefined,
    random: Math.random,
  });
});
test.after.always(async () => {
  await pods?.close();
  client?.close();
  await cluster?.down();
});

/** Makes a pod on a node; answers its UID. There is no kubelet here, so its status is ours to write. */
async function createPod(name: string, nodeName: string): Promise<string> {
  await cluster.apply({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'shop', labels: { app: name } },
    spec: { nodeName, serviceAccountName: 'web', containers: [{ name: 'app', image: 'nginx' }] },
  });
  return cluster.kubectl('get', 'pod', name, '-n', 'shop', '-o', 'jsonpath={.metadata.uid}');
}

/** As kubelet reports that a pod's container runs. */
async function startContainer(name: string, id: string): Promise<void> {
  const status = {
    name: 'app',
    image: 'docker.io/library/nginx:1.29',
    imageID: `docker.io/library/nginx@sha256:${'ab'.repeat(32)}`,
    containerID: `containerd://${id}`,
    ready: true,
    restartCount: 0,
  };
  const patch = JSON.stringify({ status: { containerStatuses: [status] } });
  await cluster.kubectl('patch', 'pod', name, '-n', 'shop', '--subresource', 'status', '-p', patch);
}

function factsOf(id: string, podUid: string | null): ProcessFacts {
  const process = { pid: 7, startTicks: 1, name: 'web', uid: 0, gid: 0 };
  return { ...process, supplementaryGids: [], container: { id, podUid }, cgroups: [] };
}

onCluster('a container that starts is its pod once the API server knows, by the watch', async (t) => {
  const uid = await createPod('web-1', 'node-1');
  const attested = createKubernetesAttestor(pods, WAITING).attest(factsOf(containerId(1), uid));
  await startContainer('web-1', containerId(1));
  const found = await attested;
  t.deepEqual(found?.selectors as readonly string[], [
    `k8s:container-image-digest:sha256:${'ab'.repeat(32)}`,
    'k8s:container-image:docker.io/library/nginx:1.29',
    'k8s:container-name:app',
    'k8s:node-name:node-1',
    'k8s:ns:shop',
    'k8s:pod-label:app:web-1',
    'k8s:pod-name:web-1',
    `k8s:pod-uid:${uid}`,
    'k8s:sa:web',
  ]);
  t.like(found?.evidence, { source: 'API server' });
});

onCluster("another node's pod is not known on this one", async (t) => {
  const uid = await createPod('web-2', 'node-2');
  await startContainer('web-2', containerId(2));
  // What came later has arrived, so what came before would have.
  const later = await createPod('web-3', 'node-1');
  await startContainer('web-3', containerId(3));
  await createKubernetesAttestor(pods, WAITING).attest(factsOf(containerId(3), later));
  await t.throwsAsync(createKubernetesAttestor(pods, NOT_AT_ALL).attest(factsOf(containerId(2), uid)), {
    code: 'unavailable',
    message: /API server has not told of container/,
  });
});

onCluster('with the API server gone, what it told counts, and what it did not is an error', async (t) => {
  const uid = await createPod('web-4', 'node-1');
  await startContainer('web-4', containerId(4));
  const attestor = createKubernetesAttestor(pods, WAITING);
  await attestor.attest(factsOf(containerId(4), uid));
  await cluster.down();
  t.like(await attestor.attest(factsOf(containerId(4), uid)), { evidence: { pod_name: 'web-4' } });
  await t.throwsAsync(createKubernetesAttestor(pods, NOT_AT_ALL).attest(factsOf(containerId(5), uid)), {
    code: 'unavailable',
  });
});
