import test, { type ExecutionContext } from 'ava';
import type { Attestation } from '../../src/attestation/attestation.ts';
import { parseSelector } from '../../src/identity/selector.ts';
import { ApiError, type KubernetesClient } from '../../src/kubernetes/client.ts';
import { ClusterNodes } from '../../src/kubernetes/cluster-nodes.ts';
import { ClusterPods } from '../../src/kubernetes/cluster-pods.ts';
import { createConfirmWorkload } from '../../src/kubernetes/confirm-workload.ts';
import { LookUp } from '../../src/kubernetes/look-up.ts';
import { until } from '../support/until.ts';

const UID = '8a4f7d9c-2c1b-4c57-9d5e-0123456789ab';
const HASH = '0123456789abcdef0123456789abcdef';

interface Told {
  readonly uid?: string;
  readonly labels?: Record<string, string>;
  readonly annotations?: Record<string, string>;
}

function pod({ uid = UID, labels = {}, annotations = {} }: Told = {}) {
  const metadata = { namespace: 'shop', name: 'web', uid, labels, annotations, resourceVersion: '1' };
  const spec = {
    nodeName: 'n1',
    serviceAccountName: 'web',
    containers: [{ name: 'app' }],
    initContainers: [{ name: 'init' }],
    ephemeralContainers: [{ name: 'debug' }],
  };
  return { metadata, spec, status: { phase: 'Running' } };
}

/** The pods of an API server that lists some, and answers as it is told when it is asked for one. */
async function podsOf(t: ExecutionContext, listed: object[], answer: () => Promise<object>) {
  const asked: string[] = [];
  let lists = 0;
  const client = {
    get: async (path: string) => {
      if (path !== '/api/v1/pods') {
        asked.push(path);
        return answer();
      }
      lists++;
      return { items: listed, metadata: { resourceVersion: '1' } };
    },
    lines: async function* (_path: string, _query: object, signal: AbortSignal): AsyncGenerator<string> {
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
    },
  } as unknown as KubernetesClient;
  const lookUp = new LookUp(client, 50);
  const pods = new ClusterPods({ client, lookUp, onFailed: () => t.fail(), random: () => 0 });
  t.teardown(() => pods.close());
  await until(
    'the pods are listed',
    () => lists === 1 && (listed.length === 0 || pods.known(NAME) !== undefined),
  );
  const confirm = createConfirmWorkload(pods, new ClusterNodes(lookUp, () => 0));
  return { pods, confirm, asked };
}

const NAME = { namespace: 'shop', name: 'web' };
const notFound = async (): Promise<object> => {
  throw new ApiError(404, 'pods "web" not found');
};

function claim(uid: string, ...more: string[]): Attestation {
  const ofPod = ['k8s:ns:shop', 'k8s:sa:web', 'k8s:pod-name:web', `k8s:pod-uid:${uid}`, ...more];
  const selectors = [...ofPod, 'unix:uid:7', 'node:k8s:node-name:n1'].map(parseSelector);
  return { instance: 'container:1', selectors, evidence: {} };
}

test('what was heard of a pod is not asked for again, and what is not of pods is asked of nobody', async (t) => {
  const { confirm, asked } = await podsOf(t, [pod({ labels: { app: 'web' } })], notFound);
  const containers = ['app', 'init', 'debug'].map((name) => `k8s:container-name:${name}`);
  const claimed = claim(UID, 'k8s:pod-label:app:web', 'k8s:node-name:n1', ...containers);
  t.deepEqual(await confirm('n1', claimed), { attestation: claimed, doubt: null });
  const ofNoPod = { ...claimed, selectors: ['unix:uid:7', 'docker:label:a:b'].map(parseSelector) };
  t.deepEqual(await confirm('somewhere', ofNoPod), { attestation: ofNoPod, doubt: null });
  t.deepEqual(asked, []);
});

test('a label that was not heard of yet is asked for, and holds', async (t) => {
  const labels = { role: 'primary' };
  const { confirm, asked } = await podsOf(t, [pod()], async () => pod({ labels }));
  const claimed = claim(UID, 'k8s:pod-label:role:primary');
  t.is((await confirm('n1', claimed)).doubt, null);
  t.deepEqual(asked, ['/api/v1/namespaces/shop/pods/web']);
});

test('a static pod is the one that its node knows by the hash of its manifest', async (t) => {
  const annotations = { 'kubernetes.io/config.mirror': HASH };
  const { confirm } = await podsOf(t, [pod({ annotations })], notFound);
  t.is((await confirm('n1', claim(HASH))).doubt, null);
  t.is((await confirm('n1', claim(UID))).doubt, null);
  t.is((await confirm('n1', claim(HASH.replace('0', 'f')))).doubt?.code, 'attestation_failed');
});

for (const [what, ...more] of [
  ['two UIDs', 'k8s:pod-uid:other'],
  ['two service accounts', 'k8s:sa:admin'],
  ['two nodes of its agent', 'node:k8s:node-name:n2'],
  ['the node of another cluster, by its UID', 'node:k8s:node-uid:other'],
] as const)
  test(`of a pod that is claimed with ${what} nothing counts`, async (t) => {
    const { confirm } = await podsOf(t, [pod()], async () => ({ metadata: { uid: 'u1' } }));
    const { attestation, doubt } = await confirm('n1', claim(UID, ...more));
    t.is(doubt?.code, 'attestation_failed');
    t.false(attestation.selectors.some((selector) => selector.startsWith('k8s:')));
  });

for (const [what, answer, says] of [
  ['forbids it', () => Promise.reject(new ApiError(403, 'forbidden')), /forbidden/],
  ['fails', () => Promise.reject(new ApiError(500, 'etcd is away')), /etcd is away/],
  ['says nothing', () => new Promise<object>(() => undefined), /has not answered within 50 ms/],
] as const)
  test(`where the API server ${what}, nothing of a pod counts until it can be asked`, async (t) => {
    const { confirm } = await podsOf(t, [], answer);
    const { attestation, doubt } = await confirm('n1', claim(UID));
    t.is(doubt?.code, 'unavailable');
    t.regex(doubt?.message ?? '', says);
    t.deepEqual(attestation.selectors, ['unix:uid:7', 'node:k8s:node-name:n1'].map(parseSelector));
  });

test('those that ask for a pod at once share the answer, and past 64 pods others are to try again', async (t) => {
  const { promise, resolve } = Promise.withResolvers<object>();
  const { pods, asked } = await podsOf(t, [], () => promise);
  const names = Array.from({ length: 64 }, (_, i) => ({ ...NAME, name: `web-${i}` }));
  const answers = [...names, ...names].map((name) => pods.ask(name));
  t.is(asked.length, 64);
  await t.throwsAsync(pods.ask(NAME), { code: 'overloaded' });
  resolve(pod());
  await Promise.all(answers);
  t.is((await pods.ask(NAME))?.uid, UID);
});

test('a node is asked for again after ten minutes, and its last answer counts while that cannot be done', async (t) => {
  const asked: string[] = [];
  let answer: () => Promise<object> = async () => ({ metadata: { uid: 'u1' } });
  const client = {
    get: (path: string) => {
      asked.push(path);
      return answer();
    },
  } as unknown as KubernetesClient;
  let now = 0;
  const nodes = new ClusterNodes(new LookUp(client), () => now);
  await nodes.check('n1', 'u1');
  await nodes.check('n1', 'u1');
  t.deepEqual(asked, ['/api/v1/nodes/n1']);
  await t.throwsAsync(nodes.check('n1', 'u2'), { code: 'attestation_failed', message: /UID u1, not u2/ });
  now = 600_000;
  answer = () => Promise.reject(new ApiError(500, 'away'));
  await nodes.check('n1', 'u1');
  await t.throwsAsync(nodes.check('n1', 'u2'), { code: 'unavailable' });
  answer = notFound;
  await t.throwsAsync(nodes.check('n1', 'u1'), { code: 'attestation_failed', message: /has no node n1/ });
  t.is(asked.length, 5);
  await t.throwsAsync(nodes.check('../n1', 'u1'), { code: 'attestation_failed', message: /no node's name/ });
  t.is(asked.length, 5);
});
