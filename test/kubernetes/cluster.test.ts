import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import anyTest, { type TestFn } from 'ava';
import { decodePem } from '../../src/x509/pem.ts';
import type { CarnetProcess } from '../support/carnet.ts';
import { clusterMissing } from '../support/kubernetes.ts';
import { until } from '../support/until.ts';
import { startWorld, type World } from './world.ts';

const RULES = `
linger: 0s
rules:
  - name: default
    spiffe_id: /ns/{namespace}/sa/{service_account}
  - name: databases
    spiffe_id: /db/{label:shard}
    labels: {role: db}
    service_names: false
    ttl: 30m
`;
const FLAGS = ['--kubernetes-bundle-namespaces', 'carnet/trust-bundle=enabled'];
const BUNDLE = 'carnet.local:workload:trust-bundle';

const missing = clusterMissing();
const test = (missing === null ? anyTest.serial : anyTest.skip) as TestFn;
const directory = mkdtempSync(join(tmpdir(), 'carnet-rules-'));
let world: World;
let carnet: CarnetProcess;
if (missing !== null) anyTest(`left out: ${missing}`, (t) => t.pass());
else {
  anyTest.before(async () => {
    const rules = join(directory, 'rules.yaml');
    writeFileSync(rules, RULES);
    world = await startWorld();
    carnet = await world.start(...FLAGS, '--kubernetes-rules', rules);
  });
  anyTest.after.always(async () => {
    await world?.close();
    rmSync(directory, { recursive: true });
  });
}

interface Entry {
  readonly id: string;
  readonly version: number;
  readonly spiffe_id: string;
  readonly selectors: readonly string[];
  readonly dns_names: readonly string[];
  readonly ttl: string | null;
}

/** The entries of one namespace's pods, once they are as many. */
function entriesOf(namespace: string, count: number): Promise<readonly Entry[]> {
  return until(`${count} entries for ${namespace}`, async () => {
    const { items } = (await carnet.call('GET', '/v1/entries?limit=1000')) as { items: Entry[] };
    const found = items.filter(({ selectors }) => selectors.includes(`k8s:ns:${namespace}`));
    return found.length === count ? found : null;
  });
}

test('entries come with the first pod of a namespace and go with its last', async (t) => {
  await world.makePod({ namespace: 'shop', name: 'cart' });
  const [entry] = await entriesOf('shop', 1);
  t.like(entry, {
    id: 'k8s.pods.default.shop',
    version: 1,
    spiffe_id: 'spiffe://carnet.local/ns/{k8s:ns}/sa/{k8s:sa}',
    selectors: ['k8s:ns:shop'],
  });
  await world.makePod({ namespace: 'shop', name: 'cart-2', serviceAccount: 'other' });
  await world.cluster.kubectl('delete', 'pod', 'cart', '-n', 'shop');
  await world.cluster.kubectl('delete', 'pod', 'cart-2', '-n', 'shop');
  await entriesOf('shop', 0);
  const history = await world.query(
    `SELECT version, deleted, actor FROM entry_version WHERE entry_id = 'k8s.pods.default.shop' ORDER BY version`,
  );
  t.deepEqual(history, [
    { version: 1, deleted: false, actor: 'rule:default' },
    { version: 2, deleted: true, actor: 'rule:default' },
  ]);
});

test('pods behind a Service get its names, and lose them with it', async (t) => {
  await world.makePod({ namespace: 'books', name: 'api-1', labels: { app: 'api', tier: 'back' } });
  await entriesOf('books', 1);
  const service = (name: string, selector: object) => ({
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'books' },
    spec: { selector, ports: [{ port: 80 }] },
  });
  await world.cluster.apply(service('api', { app: 'api' }), service('back', { tier: 'back' }));
  const named = await until('the entry with both names', async () =>
    (await entriesOf('books', 2)).find(({ dns_names }) => dns_names.length === 6),
  );
  t.deepEqual(named.selectors, ['k8s:ns:books', 'k8s:pod-label:app:api', 'k8s:pod-label:tier:back']);
  t.deepEqual(named.dns_names.slice(0, 3), ['api.books', 'api.books.svc', 'api.books.svc.cluster.local']);
  await world.requestCertificate({ name: 'named', pod: 'api-1', namespace: 'books' });
  const answered = await world.answer('csr', 'named');
  const pem = Buffer.from(answered.status.certificate ?? '', 'base64').toString();
  t.true(Buffer.from(decodePem('CERTIFICATE', pem)[0] ?? []).includes('back.books.svc.cluster.local'));
  await world.cluster.kubectl('delete', 'service', 'api', 'back', '-n', 'books');
  t.deepEqual((await entriesOf('books', 1))[0]?.dns_names, []);
});

test('a narrower rule by label comes first', async (t) => {
  await world.makePod({ namespace: 'store', name: 'pg', labels: { role: 'db', shard: 's7' } });
  const entries = await entriesOf('store', 2);
  t.like(
    entries.find(({ id }) => id === 'k8s.label.databases.store'),
    { spiffe_id: 'spiffe://carnet.local/db/{k8s:pod-label:shard}', ttl: '30m' },
  );
  await world.requestCertificate({ name: 'shard', pod: 'pg', namespace: 'store' });
  const { status } = await world.answer('csr', 'shard');
  t.regex(
    status.conditions?.[0]?.message ?? '',
    /^spiffe:\/\/carnet\.local\/db\/s7 by k8s\.label\.databases\.store$/,
  );
});

test('an entry that an operator has changed is left to him', async (t) => {
  await world.makePod({ namespace: 'ours', name: 'one' });
  await entriesOf('ours', 1);
  const file = join(directory, 'entries.yaml');
  writeFileSync(file, `entries: [{id: k8s.pods.default.ours, spiffe_id: /ours, selectors: ["k8s:ns:ours"]}]`);
  const applied = await carnet.cli('entry', 'apply', '-f', file, '--yes');
  t.is(applied.code, 0, applied.stderr);
  // Something else for which the rules are followed once more.
  await world.makePod({ namespace: 'later', name: 'one' });
  await entriesOf('later', 1);
  t.like((await entriesOf('ours', 1))[0], { version: 2, spiffe_id: 'spiffe://carnet.local/ours' });
});

/** The certificates that the cluster is told to trust. */
async function published(): Promise<{ readonly bundle: string; readonly configMap: string | undefined }> {
  const bundle = await world.find('clustertrustbundle', BUNDLE);
  const map = await world.find('configmap', 'carnet-trust-bundle', 'trusting');
  return { bundle: String(bundle?.spec.trustBundle ?? ''), configMap: map?.data?.['bundle.pem'] };
}

test('what is changed in the cluster is put right', async (t) => {
  const before = await until('the bundle is published', async () => (await published()).bundle || null);
  await world.cluster.kubectl('delete', 'clustertrustbundle', BUNDLE);
  // Any change of namespaces is reason enough to write all anew; without one it takes a minute.
  const labels = { 'carnet/trust-bundle': 'enabled' };
  await world.cluster.apply({
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: { name: 'trusting-too', labels },
  });
  const after = await until('it is there again', async () => (await published()).bundle || null);
  t.is(after.slice(0, before.length), before);
});

test('a new root is in the cluster before anything signs under it', async (t) => {
  const labels = { 'carnet/trust-bundle': 'enabled' };
  await world.cluster.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'trusting', labels } });
  const first = await until('the bundle is published', async () => {
    const { bundle, configMap } = await published();
    return configMap !== undefined && configMap === bundle ? bundle : null;
  });
  t.is(decodePem('CERTIFICATE', first).length, 1);
  const prepared = await carnet.cli('root', 'prepare', '--hold', '1h');
  t.is(prepared.code, 0, prepared.stderr);
  const second = await until('the new root is published', async () => {
    const { bundle, configMap } = await published();
    return bundle === configMap && decodePem('CERTIFICATE', bundle).length === 2 ? bundle : null;
  });
  t.true(second.startsWith(first));
  const { stdout } = await carnet.cli('root', 'status', '--json');
  const { rotations } = JSON.parse(stdout) as {
    rotations: { laggards: { instance: string; why: string }[] }[];
  };
  t.deepEqual(
    rotations[0]?.laggards.map(({ instance, why }) => [instance, why]),
    [['kubernetes:trust-bundle', 'cannot acknowledge, and is held for']],
  );
  t.is((await carnet.cli('root', 'activate')).code, 1);
  // The same with a hold of a second only.
  t.is((await carnet.cli('root', 'abort')).code, 0);
  const anew = ['root', 'prepare', '--hold', '1s'];
  await until('the abort is carried out', async () => (await carnet.cli(...anew)).code === 0);
  await until('the new root may sign', async () => (await carnet.cli('root', 'activate')).code === 0);
  const third = await published();
  t.is(third.configMap, third.bundle);
  t.is(decodePem('CERTIFICATE', third.bundle).length, 2);
});

test('of several servers one looks after the cluster, and another when that one is killed', async (t) => {
  const other = await world.start(...FLAGS);
  await world.makePod({ namespace: 'replicas', name: 'one' });
  await entriesOf('replicas', 1);
  await world.requestCertificate({ name: 'once', pod: 'one', namespace: 'replicas' });
  await world.answer('csr', 'once');
  await carnet.kill();
  carnet = other;
  await world.requestCertificate({ name: 'after', pod: 'one', namespace: 'replicas' });
  const { status } = await world.answer('csr', 'after');
  t.is(status.conditions?.[0]?.type, 'Approved');
  const issued = await world.query(
    `SELECT requester, count(*)::integer FROM issuance
     WHERE requester IN ('kubernetes:csr/once', 'kubernetes:csr/after')
     GROUP BY requester ORDER BY requester DESC`,
  );
  t.deepEqual(issued, [
    { requester: 'kubernetes:csr/once', count: 1 },
    { requester: 'kubernetes:csr/after', count: 1 },
  ]);
});
