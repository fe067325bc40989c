import { once } from 'node:events';
import test, { type ExecutionContext } from 'ava';
import { createKubeletSource } from '../../src/attestation/kubelet.ts';
import { createKubernetesAttestor, type PodSource } from '../../src/attestation/kubernetes.ts';
import { parsePod } from '../../src/attestation/pod.ts';
import type { ProcessFacts } from '../../src/attestation/process.ts';
import { CarnetError, isRetryable } from '../../src/errors.ts';
import { StandIn } from './http-stand-in.ts';
import { MACHINE_EXTENSIONS, MachineCa } from './machine-ca.ts';
import { containerId, podObject, podUid } from './pods.ts';

const ca = new MachineCa();
test.after.always(() => ca.remove());
const root = ca.root('/CN=cluster');
const kubeletName = ca.issue(root, {
  subject: '/CN=node-1',
  extensions: [...MACHINE_EXTENSIONS.slice(0, 3), 'subjectAltName=IP:127.0.0.1'],
});
const tokenFile = ca.write('the-token\n');
const QUICK = { timeoutMs: 30_000, firstPauseMs: 5, longestPauseMs: 50 };
const NOT_AT_ALL = { timeoutMs: 0, firstPauseMs: 1, longestPauseMs: 1 };

function factsOf(id: string, uid: string | null): ProcessFacts {
  return {
    pid: 7,
    startTicks: 1,
    name: 'web',
    uid: 0,
    gid: 0,
    supplementaryGids: [],
    container: { id, podUid: uid },
    cgroups: [],
  };
}

/** There is no kubelet here: a real HTTPS server answers in its place, as kubelet's GET /pods does. */
async function startKubelet(t: ExecutionContext, identity = kubeletName) {
  const kubelet = new StandIn(identity);
  t.teardown(() => kubelet.close());
  const url = await kubelet.listen();
  const caFile = ca.bundle(root);
  return { kubelet, url, source: createKubeletSource({ url, caFile, tokenFile }) };
}

/** Pods that a test changes. */
function sourceOf(...objects: unknown[]): PodSource & { objects: unknown[]; problem: CarnetError | null } {
  return {
    name: 'test',
    objects,
    problem: null,
    current() {
      const pods = this.objects.flatMap((one) => parsePod(one) ?? []);
      return Promise.resolve({ pods, problem: this.problem });
    },
  };
}

test('a container is its pod, by the kubelet: names as SPIRE has them', async (t) => {
  const { kubelet, source } = await startKubelet(t);
  kubelet.answers({ kind: 'PodList', items: [podObject({ number: 1 }), podObject({ number: 2 })] });
  const attestor = createKubernetesAttestor(source, QUICK);
  const found = await attestor.attest(factsOf(containerId(2), podUid(2)));
  t.deepEqual(found?.selectors as readonly string[], [
    `k8s:container-image-digest:sha256:${'ab'.repeat(32)}`,
    'k8s:container-image:docker.io/library/nginx:1.29',
    'k8s:container-name:app',
    'k8s:node-name:node-1',
    'k8s:ns:shop',
    'k8s:pod-label:app:web',
    'k8s:pod-name:web-2',
    `k8s:pod-uid:${podUid(2)}`,
    'k8s:sa:web',
  ]);
  t.like(found?.evidence, {
    source: 'kubelet',
    pod_uid: podUid(2),
    namespace: 'shop',
    container_name: 'app',
  });
  t.deepEqual(kubelet.asked, ['GET /pods Bearer the-token']);
});

test('a process outside of containers is none of Kubernetes, and nobody is asked', async (t) => {
  const source = sourceOf();
  source.current = () => Promise.reject(new Error('asked'));
  const facts = { ...factsOf(containerId(1), null), container: null };
  t.is(await createKubernetesAttestor(source).attest(facts), null);
});

test('a container that has just started is waited for', async (t) => {
  const { kubelet, source } = await startKubelet(t);
  let asked = 0;
  kubelet.answer = (_, response) => {
    const items =
      ++asked < 4 ? [podObject({ number: 1 })] : [podObject({ number: 1 }), podObject({ number: 2 })];
    response.end(JSON.stringify({ items }));
  };
  const attestor = createKubernetesAttestor(source, { ...QUICK, firstPauseMs: 110 });
  t.like(await attestor.attest(factsOf(containerId(2), podUid(2))), { evidence: { pod_name: 'web-2' } });
  t.true(asked >= 4);
});

test('those that wait share one question', async (t) => {
  const { kubelet, source } = await startKubelet(t);
  const held: (() => void)[] = [];
  kubelet.answer = (_, response) => {
    held.push(() => response.end(JSON.stringify({ items: [podObject({ number: 1 })] })));
  };
  const attestor = createKubernetesAttestor(source, QUICK);
  const callers = Array.from({ length: 100 }, () => attestor.attest(factsOf(containerId(1), podUid(1))));
  await once(kubelet.server, 'request');
  held[0]?.();
  t.true((await Promise.all(callers)).every((found) => found !== null));
  t.is(kubelet.asked.length, 1);
});

test('a container that stays unknown ends in an error after which the caller may try again', async (t) => {
  const attestor = createKubernetesAttestor(sourceOf(podObject({ number: 1 })), NOT_AT_ALL);
  const error = await t.throwsAsync(attestor.attest(factsOf(containerId(2), podUid(2))), {
    code: 'unavailable',
  });
  t.regex(error?.message ?? '', /has not told of container/);
  t.true(isRetryable(error));
});

test('a container outside of any pod is looked for, and not waited for', async (t) => {
  const source = sourceOf(podObject({ number: 1 }));
  const attestor = createKubernetesAttestor(source, NOT_AT_ALL);
  t.is(await attestor.attest(factsOf(containerId(2), null)), null);
  t.like(await attestor.attest(factsOf(containerId(1), null)), { evidence: { pod_name: 'web-1' } });
});

test("a pod whose status claims another pod's container does not get it", async (t) => {
  const attestor = createKubernetesAttestor(
    sourceOf(podObject({ number: 1 }), podObject({ number: 2, containerId: containerId(1) })),
    NOT_AT_ALL,
  );
  t.like(await attestor.attest(factsOf(containerId(1), podUid(1))), { evidence: { pod_name: 'web-1' } });
  await t.throwsAsync(attestor.attest(factsOf(containerId(1), podUid(3))), { code: 'unavailable' });
  await t.throwsAsync(attestor.attest(factsOf(containerId(1), null)), { code: 'attestation_failed' });
});

test("a static pod's cgroup has its manifest's hash, which its mirror in the API tells", async (t) => {
  const hash = '0123456789abcdef0123456789abcdef';
  const attestor = createKubernetesAttestor(
    sourceOf(podObject({ number: 1, annotations: { 'kubernetes.io/config.mirror': hash } })),
    NOT_AT_ALL,
  );
  t.like(await attestor.attest(factsOf(containerId(1), hash)), { evidence: { pod_name: 'web-1' } });
});

test('an annotation that says it mirrors another pod is no way to be that pod', async (t) => {
  const forged = podObject({
    number: 2,
    containerId: containerId(1),
    annotations: { 'kubernetes.io/config.mirror': podUid(1) },
  });
  const attestor = createKubernetesAttestor(sourceOf(forged), NOT_AT_ALL);
  await t.throwsAsync(attestor.attest(factsOf(containerId(1), podUid(1))), { code: 'unavailable' });
});

test('while the source is away, containers that it told of are known and others wait in vain', async (t) => {
  const source = sourceOf(podObject({ number: 1 }));
  source.problem = new CarnetError('timeout', 'kubelet did not answer');
  const attestor = createKubernetesAttestor(source, NOT_AT_ALL);
  t.truthy(await attestor.attest(factsOf(containerId(1), podUid(1))));
  for (const uid of [podUid(2), null])
    await t.throwsAsync(attestor.attest(factsOf(containerId(2), uid)), {
      code: 'unavailable',
      message: /kubelet did not answer/,
    });
});

test('labels are selectors whatever they hold, 128 at most, the first by their keys', async (t) => {
  const many = Object.fromEntries(Array.from({ length: 200 }, (_, i) => [`l${1000 + i}`, '']));
  const source = sourceOf(podObject({ number: 1, labels: { 'app.kubernetes.io/name': 'a:b', ...many } }));
  const found = await createKubernetesAttestor(source).attest(factsOf(containerId(1), podUid(1)));
  const labels = found?.selectors.filter((one) => one.startsWith('k8s:pod-label:')) ?? [];
  t.is(labels.length, 128);
  t.true((labels as string[]).includes('k8s:pod-label:app.kubernetes.io/name:a:b'));
  t.true((labels as string[]).includes('k8s:pod-label:l1126:'));
});

for (const [claim, imageID, digest] of [
  ['containerd', `docker.io/library/nginx@sha256:${'1'.repeat(64)}`, `sha256:${'1'.repeat(64)}`],
  ['CRI-O', `quay.io/x/y@sha256:${'1'.repeat(64)}`, `sha256:${'1'.repeat(64)}`],
  ['Docker', `docker-pullable://nginx@sha256:${'1'.repeat(64)}`, `sha256:${'1'.repeat(64)}`],
  ['an image that was built here, of Docker', `docker://sha256:${'1'.repeat(64)}`, null],
  ['an image that was imported, of containerd', `sha256:${'1'.repeat(64)}`, null],
] as const)
  test(`reads the image's digest as ${claim} tells it`, (t) => {
    const pod = podObject({ number: 1 });
    Object.assign(pod.status.containerStatuses[0] ?? {}, { imageID });
    t.is(parsePod(pod)?.containers[0]?.imageDigest, digest);
  });

for (const [claim, answer, says] of [
  ['refuses the token', { status: 401, json: {} }, /answers 401: .*nodes\/proxy/],
  ['forbids', { status: 403, json: {} }, /answers 403/],
  ['answers something else', { status: 200, json: { kind: 'Status' } }, /no list of pods/],
  ['fails', { status: 500, json: { items: [] } }, /answers 500/],
] as const)
  test(`a kubelet that ${claim} makes a clear, retryable error`, async (t) => {
    const { kubelet, source } = await startKubelet(t);
    kubelet.answers(answer.json, answer.status);
    const attestor = createKubernetesAttestor(source, NOT_AT_ALL);
    await t.throwsAsync(attestor.attest(factsOf(containerId(1), podUid(1))), {
      code: 'unavailable',
      message: says,
    });
  });

test('the token is not shown to whoever does not prove to be the kubelet', async (t) => {
  const other = ca.root('/CN=other');
  const stranger = ca.issue(other, {
    subject: '/CN=node-1',
    extensions: ['subjectAltName=IP:127.0.0.1'],
  });
  const { kubelet, source } = await startKubelet(t, stranger);
  const attestor = createKubernetesAttestor(source, NOT_AT_ALL);
  await t.throwsAsync(attestor.attest(factsOf(containerId(1), podUid(1))), { code: 'unavailable' });
  t.deepEqual(kubelet.asked, []);
});

test('the read-only port gets no token', async (t) => {
  const kubelet = new StandIn(null);
  t.teardown(() => kubelet.close());
  kubelet.answers({ items: [podObject({ number: 1 })] });
  const source = createKubeletSource({ url: await kubelet.listen(), caFile: '/nowhere', tokenFile });
  const attestor = createKubernetesAttestor(source, QUICK);
  t.truthy(await attestor.attest(factsOf(containerId(1), podUid(1))));
  t.deepEqual(kubelet.asked, ['GET /pods -']);
});

test('an answer without an end is cut off', async (t) => {
  const { kubelet, source } = await startKubelet(t);
  kubelet.answer = (_, response) => {
    const chunk = Buffer.alloc(1 << 20, ' ');
    const more = (): void => {
      while (!response.destroyed && response.write(chunk));
      if (!response.destroyed) response.once('drain', more);
    };
    more();
  };
  const { problem } = await source.current(0);
  t.true(problem?.code === 'too_large' || problem?.code === 'timeout', problem?.message);
});
