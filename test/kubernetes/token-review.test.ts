import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import {
  createServiceAccountAttestor,
  type Cluster as NodeCluster,
} from '../../src/attestation/node/service-account-token.ts';
import { keysInFile } from '../../src/attestation/node/token-keys.ts';
import { openAccess } from '../../src/kubernetes/access.ts';
import { KubernetesClient } from '../../src/kubernetes/client.ts';
import { createTokenReview } from '../../src/kubernetes/token-review.ts';
import { type Cluster, clusterMissing, startCluster } from '../support/kubernetes.ts';
import { until } from '../support/until.ts';

const missing = clusterMissing();
const onCluster = missing === null ? test.serial : test.serial.skip;
if (missing !== null) process.stderr.write(`test/kubernetes/token-review: ${missing}\n`);

const AUDIENCE = 'carnet';
const directory = mkdtempSync(join(tmpdir(), 'carnet-token-review-'));
let cluster: Cluster;
let client: KubernetesClient;

test.before(async () => {
  if (missing !== null) return;
  cluster = await startCluster();
  client = new KubernetesClient(openAccess(cluster.kubeconfig, {}), Math.random);
  await cluster.apply(
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'carnet' } },
    { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node-1' } },
  );
  await cluster.apply(
    ...['agent', 'web', 'reviewer'].map((name) => ({
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name, namespace: 'carnet' },
    })),
  );
  await cluster.apply(podOf('agent-1', 'agent'), podOf('web-1', 'web'));
  writeFileSync(join(directory, 'keys'), await cluster.kubectl('get', '--raw', '/openid/v1/jwks'));
});
test.after.always(async () => {
  client?.close();
  await cluster?.down();
  rmSync(directory, { recursive: true, force: true });
});

function podOf(name: string, serviceAccountName: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'carnet', labels: { app: name } },
    spec: { nodeName: 'node-1', serviceAccountName, containers: [{ name: 'app', image: 'nginx' }] },
  };
}

/** As kubelet asks for a projected volume's token, with the shortest life that there is. */
function tokenOf(account: string, pod: string | null, audience = AUDIENCE): Promise<string> {
  const bound = pod === null ? [] : ['--bound-object-kind', 'Pod', '--bound-object-name', pod];
  const args = ['create', 'token', account, '--namespace', 'carnet', '--duration', '10m', ...bound];
  return cluster.kubectl(...args, '--audience', audience);
}

/** Both ways to verify: by the real API server, and offline by its keys. */
function clustersOf(): Record<'review' | 'keys', NodeCluster> {
  const shared = {
    name: 'test',
    namePrefix: '',
    issuer: cluster.issuer,
    audience: AUDIENCE,
    maxAgeSeconds: 3600,
    serviceAccounts: new Set(['carnet/agent']),
  };
  return {
    review: { ...shared, verifier: { review: createTokenReview(client) } },
    keys: { ...shared, verifier: { keys: keysInFile(join(directory, 'keys')) } },
  };
}

function attest(token: string, by: NodeCluster, clock = Date.now) {
  const never = () => Promise.reject(new Error('a token needs no challenge'));
  return createServiceAccountAttestor([by], clock).attest(Buffer.from(token), never);
}

for (const by of ['review', 'keys'] as const) {
  onCluster(`a real pod-bound token is its pod's node, by ${by}`, async (t) => {
    const node = await attest(await tokenOf('agent', 'agent-1'), clustersOf()[by]);
    const pod = JSON.parse(await cluster.kubectl('get', 'pod', 'agent-1', '-n', 'carnet', '-o', 'json'));
    const own = JSON.parse(await cluster.kubectl('get', 'node', 'node-1', '-o', 'json'));
    t.is(node.name, 'node-1');
    t.deepEqual(node.evidence, {
      cluster: 'test',
      service_account: 'carnet/agent',
      pod_name: 'agent-1',
      pod_uid: pod.metadata.uid,
      node_name: 'node-1',
      node_uid: own.metadata.uid,
    });
  });

  for (const [claim, account, pod, audience, code] of [
    ['for the API server', 'agent', 'agent-1', 'https://kubernetes.default.svc', 'node_token_audience'],
    ["of a workload's service account", 'web', 'web-1', AUDIENCE, 'attestation_failed'],
    ['bound to no pod', 'agent', null, AUDIENCE, 'attestation_failed'],
  ] as const)
    onCluster(`refuses a real token ${claim}, by ${by}: ${code}`, async (t) => {
      await t.throwsAsync(attest(await tokenOf(account, pod, audience), clustersOf()[by]), { code });
    });

  onCluster(`refuses a real token that has expired, by ${by}`, async (t) => {
    const clock = () => Date.now() + 11 * 60_000;
    const token = await tokenOf('agent', 'agent-1');
    await t.throwsAsync(attest(token, clustersOf()[by], clock), { code: 'node_token_expired' });
  });

  onCluster(`refuses a real token whose claims were changed, by ${by}`, async (t) => {
    const [header, claims = '', signature] = (await tokenOf('web', 'web-1')).split('.');
    const text = Buffer.from(claims, 'base64url').toString('utf8').replaceAll('web', 'agent');
    const forged = [header, Buffer.from(text).toString('base64url'), signature].join('.');
    await t.throwsAsync(attest(forged, clustersOf()[by]), { code: 'attestation_failed' });
  });
}

onCluster('a token dies with its pod, by review; offline it lives until it ends', async (t) => {
  await cluster.apply(podOf('agent-2', 'agent'));
  const token = await tokenOf('agent', 'agent-2');
  const { review, keys } = clustersOf();
  await cluster.kubectl('delete', 'pod', 'agent-2', '-n', 'carnet', '--grace-period', '0', '--force');
  // kube-apiserver keeps an answer for 10 s.
  await until('the API server refuses the token', () =>
    attest(token, review).then(
      () => null,
      (error: { code: string }) => error.code === 'attestation_failed',
    ),
  );
  t.is((await attest(token, keys)).name, 'node-1');
});

onCluster('who may not review tokens is told so, and does not refuse an agent for it', async (t) => {
  const stranger = new KubernetesClient(openAccess(await cluster.kubeconfigOf('nobody'), {}), Math.random);
  t.teardown(() => stranger.close());
  const { review } = clustersOf();
  const by = { ...review, verifier: { review: createTokenReview(stranger) } };
  await t.throwsAsync(attest(await tokenOf('agent', 'agent-1'), by), {
    code: 'unavailable',
    message: /may not review tokens.*tokenreviews/,
  });
});

onCluster('the ClusterRole system:auth-delegator is enough to review tokens', async (t) => {
  await cluster.apply({
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name: 'reviewer' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'system:auth-delegator' },
    subjects: [{ kind: 'ServiceAccount', name: 'reviewer', namespace: 'carnet' }],
  });
  const token = await cluster.kubectl('create', 'token', 'reviewer', '-n', 'carnet', '--duration', '10m');
  const access = {
    server: new URL(cluster.apiUrl),
    ca: readFileSync(cluster.caFile, 'utf8'),
    clientCertificate: null,
    token: () => Promise.resolve(token.trim()),
  };
  const reviewer = new KubernetesClient(access, Math.random);
  t.teardown(() => reviewer.close());
  const by = { ...clustersOf().review, verifier: { review: createTokenReview(reviewer) } };
  t.is((await attest(await tokenOf('agent', 'agent-1'), by)).name, 'node-1');
});
