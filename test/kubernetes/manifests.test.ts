import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import anyTest, { type TestFn } from 'ava';
import { parseAllDocuments, stringify } from 'yaml';
import { AGENT_SETTINGS } from '../../src/agent-config.ts';
import { readNodeAttestation } from '../../src/attestation/node/config.ts';
import { parsePod } from '../../src/attestation/pod.ts';
import { SERVER_SETTINGS } from '../../src/config.ts';
import { openAccess } from '../../src/kubernetes/access.ts';
import { KubernetesClient } from '../../src/kubernetes/client.ts';
import { LookUp } from '../../src/kubernetes/look-up.ts';
import { watchPodsOfNode } from '../../src/kubernetes/pods-of-node.ts';
import { createTokenReview } from '../../src/kubernetes/token-review.ts';
import { bundleConfigMap, clusterTrustBundle } from '../../src/kubernetes/trust-bundle.ts';
import { createMetrics } from '../../src/metrics.ts';
import { clusterMissing } from '../support/kubernetes.ts';
import { until } from '../support/until.ts';
import { csrObject, MANIFESTS, podCertificateSpec, SIGNER, startWorld, type World } from './world.ts';

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly data?: Record<string, string>;
  readonly rules?: readonly Rule[];
  readonly spec: { readonly template: { readonly spec: object } };
}

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly resourceNames?: readonly string[];
  readonly verbs: readonly string[];
}

const OVERLAYS = ['quickstart', 'production'] as const;
const API = '/apis/certificates.k8s.io/v1beta1';

const missing = clusterMissing();
const test = (missing === null ? anyTest.serial : anyTest.skip) as TestFn;
const directory = mkdtempSync(join(tmpdir(), 'carnet-manifests-'));
let world: World;
if (missing !== null) anyTest(`left out: ${missing}`, (t) => t.pass());
else {
  anyTest.before(async () => {
    world = await startWorld();
    await world.cluster.kubectl('apply', '-f', join(import.meta.dirname, 'crds.yaml'));
  });
  anyTest.after.always(async () => {
    await world?.close();
    rmSync(directory, { recursive: true });
  });
}

async function render(overlay: (typeof OVERLAYS)[number]): Promise<{ file: string; manifests: Manifest[] }> {
  const text = await world.cluster.kubectl('kustomize', join(MANIFESTS, 'overlays', overlay));
  const file = join(directory, `${overlay}.yaml`);
  writeFileSync(file, text);
  return { file, manifests: parseAllDocuments(text).map((document) => document.toJS() as Manifest) };
}

for (const overlay of OVERLAYS)
  test(`each manifest of ${overlay} passes a dry run on the server, and nothing of it is dropped`, async (t) => {
    const { file, manifests } = await render(overlay);
    const dryRun = ['apply', '--server-side', '--dry-run=server', '--validate=strict'];
    const lines = (await world.cluster.kubectl(...dryRun, '-f', file)).trim().split('\n');
    t.is(lines.length, manifests.length);
  });

test('the secrets that the server needs are made by a script, and pass too', async (t) => {
  const script = join(MANIFESTS, 'create-secrets.sh');
  const file = join(directory, 'secrets.yaml');
  const text = execFileSync(script, { encoding: 'utf8' });
  writeFileSync(file, text, { mode: 0o600 });
  await world.cluster.kubectl('create', '--dry-run=server', '--validate=strict', '-f', file);
  const [server] = parseAllDocuments(text).map((document) => document.toJS() as { stringData: object });
  t.deepEqual(Object.keys(server?.stringData ?? {}), ['database-url', 'key-encryption-key', 'admin-token']);
  const external = execFileSync(script, ['postgresql://u:p@h/d'], { encoding: 'utf8' });
  t.is(parseAllDocuments(external).length, 1);
});

test('the examples pass, and a cluster keeps their projected certificates', async (t) => {
  const dryRun = ['create', '--dry-run=server', '--validate=strict', '-o', 'json', '-f'];
  await world.cluster.kubectl(...dryRun, join(MANIFESTS, 'examples/sidecar.yaml'));
  const pod = await world.cluster.kubectl(...dryRun, join(MANIFESTS, 'examples/pod-certificate.yaml'));
  const { spec } = JSON.parse(pod) as { spec: { volumes: { projected?: { sources: object[] } }[] } };
  const kept = spec.volumes[0]?.projected?.sources.flatMap((source) => Object.keys(source));
  t.deepEqual(kept, ['podCertificate', 'clusterTrustBundle']);
});

test('the server and the quickstart Postgres run where only restricted pods may', async (t) => {
  const labels = { 'pod-security.kubernetes.io/enforce': 'restricted' };
  await world.cluster.apply(
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'restricted', labels } },
    {
      apiVersion: 'v1',
      kind: 'ServiceAccount',
      metadata: { name: 'carnet-server', namespace: 'restricted' },
    },
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default', namespace: 'restricted' } },
  );
  const { manifests } = await render('quickstart');
  for (const name of ['carnet-server', 'carnet-postgres']) {
    const found = manifests.find(
      ({ kind, metadata }) => /Deployment|StatefulSet/.test(kind) && metadata.name === name,
    );
    const file = join(directory, `${name}.yaml`);
    const { volumes = [], ...spec }: { volumes?: object[] } = found?.spec.template.spec ?? {};
    const claimed = name === 'carnet-postgres' ? [{ name: 'data', emptyDir: {} }] : [];
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: 'restricted' },
      spec: { ...spec, volumes: [...volumes, ...claimed] },
    };
    writeFileSync(file, stringify(pod));
    t.regex(await world.cluster.kubectl('create', '--dry-run=server', '-f', file), /created/, name);
  }
});

test('what the manifests set are settings that there are', async (t) => {
  const { manifests } = await render('production');
  for (const [name, settings] of [
    ['carnet-server', SERVER_SETTINGS],
    ['carnet-agent', AGENT_SETTINGS],
  ] as const) {
    const map = manifests.find(({ kind, metadata }) => kind === 'ConfigMap' && metadata.name === name);
    const known = Object.values(settings).map(
      ({ flag }) => `CARNET_${flag.replaceAll('-', '_').toUpperCase()}`,
    );
    t.deepEqual(
      Object.keys(map?.data ?? {}).filter((variable) => !known.includes(variable)),
      [],
    );
  }
});

test('the file of node attestation is one that the server reads', async (t) => {
  const { manifests } = await render('production');
  const map = manifests.find(({ metadata }) => metadata.name === 'carnet-server-files');
  const file = join(directory, 'node-attestation.yaml');
  writeFileSync(file, map?.data?.['node-attestation.yaml'] ?? '');
  t.deepEqual(readNodeAttestation(file).k8s_psat?.[0]?.service_accounts, ['carnet/carnet-agent']);
});

test('alerts are on metrics that there are', async (t) => {
  const text = readFileSync(join(MANIFESTS, 'components/monitoring/alerts.yaml'), 'utf8');
  const named = new Set(text.match(/\bcarnet_[a-z_]+/g));
  const scraped = await createMetrics().scrape();
  t.true(named.size > 5);
  t.deepEqual(
    [...named].filter((metric) => !scraped.includes(`# TYPE ${metric} `)),
    [],
  );
});

test("the server's rights suffice, and none is spare", async (t) => {
  await exerciseEverything();
  const { manifests } = await render('production');
  const role = manifests.find(
    ({ kind, metadata }) => kind === 'ClusterRole' && metadata.name === 'carnet-server',
  );
  const granted = grantsOf(role?.rules ?? []);
  const used = usedVerbs(readFileSync(world.auditLog, 'utf8'));
  t.deepEqual(used.refused, []);
  // What is asked of the authorizer besides the request itself, and so is in no log, is tried below.
  const unseen = [
    'approve signers',
    'attest signers',
    'create clustertrustbundles',
    'create configmaps',
    'sign signers',
  ];
  t.deepEqual([...new Set([...used.allowed, ...unseen])].sort(), granted.sort());
});

/** Has the server do each thing that it does in a cluster, once. */
async function exerciseEverything(): Promise<void> {
  const { uid } = await world.makePod({ name: 'web' });
  const labels = { 'carnet/trust-bundle': 'enabled' };
  await world.cluster.apply({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'trusting', labels } });
  const carnet = await world.start('--kubernetes-bundle-namespaces', 'carnet/trust-bundle=enabled');
  await world.requestCertificate({ name: 'one', pod: 'web' });
  await signed('csr', 'one');
  await world.cluster.apply({
    apiVersion: 'certificates.k8s.io/v1beta1',
    kind: 'PodCertificateRequest',
    metadata: { name: 'one', namespace: 'default' },
    spec: {
      signerName: SIGNER,
      podName: 'web',
      podUID: uid,
      serviceAccountName: 'default',
      serviceAccountUID: (await world.find('serviceaccount', 'default'))?.metadata.uid,
      nodeName: 'n1',
      nodeUID: (await world.find('node', 'n1'))?.metadata.uid,
      ...podCertificateSpec(generateKeyPairSync('ec', { namedCurve: 'P-256' }), uid),
    },
  });
  await signed('podcertificaterequest', 'one');
  await until('the bundle is published', () => world.find('configmap', 'carnet-trust-bundle', 'trusting'));
  await carnet.stop();
  const client = new KubernetesClient(openAccess(world.serverKubeconfig, {}), Math.random);
  await createTokenReview(client)('no token', 'carnet');
  await new LookUp(client).find('/api/v1/nodes/n1', 'the node n1').finally(() => client.close());
}

async function signed(kind: 'csr' | 'podcertificaterequest', name: string): Promise<void> {
  const { status } = await world.answer(kind, name, 'default');
  if ((status.certificate ?? status.certificateChain) === undefined)
    throw new Error(`${kind} ${name}: ${JSON.stringify(status.conditions)}`);
}

/** `<verb> <resource>` of each thing that a role allows. */
function grantsOf(rules: readonly Rule[]): string[] {
  return rules.flatMap(({ resources, verbs }) =>
    resources.flatMap((resource) => verbs.map((verb) => `${verb} ${resource}`)),
  );
}

/** What the API server saw of the server, but for the discovery that everybody may use. */
function usedVerbs(auditLog: string): { allowed: string[]; refused: string[] } {
  const seen = { allowed: [] as string[], refused: [] as string[] };
  for (const line of auditLog.trim().split('\n')) {
    const { verb, objectRef, responseStatus, requestURI } = JSON.parse(line) as {
      readonly verb: string;
      readonly objectRef?: { readonly resource: string; readonly subresource?: string };
      readonly responseStatus?: { readonly code: number };
      readonly requestURI: string;
    };
    if (responseStatus?.code === 403) seen.refused.push(`${verb} ${requestURI}`);
    if (objectRef === undefined) continue;
    const { resource, subresource } = objectRef;
    seen.allowed.push(`${verb} ${subresource === undefined ? resource : `${resource}/${subresource}`}`);
  }
  return seen;
}

const bundlePath = `${API}/clustertrustbundles/carnet.local:workload:trust-bundle`;
const pem = execFileSync(
  'openssl',
  [
    ...[
      'req',
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      '/dev/null',
    ],
    ...['-subj', '/CN=x', '-addext', 'keyUsage=critical,keyCertSign'],
  ],
  { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
);
const csrPath = '/apis/certificates.k8s.io/v1/certificatesigningrequests/by-hand';

const APPROVED = { type: 'Approved', status: 'True', reason: 'Test', message: 'by hand' };

/** What needs each right that no request of its own shows, and has to be refused without it. */
const NEEDED: [right: string, act: (client: KubernetesClient) => Promise<unknown>][] = [
  ['create clustertrustbundles', (client) => client.apply(bundlePath, clusterTrustBundle(SIGNER, pem))],
  ['attest signers', (client) => client.apply(bundlePath, clusterTrustBundle(SIGNER, pem))],
  [
    'create configmaps',
    (client) =>
      client.apply(
        '/api/v1/namespaces/default/configmaps/carnet-trust-bundle',
        bundleConfigMap('default', pem),
      ),
  ],
  ['approve signers', (client) => replaceStatus(client, 'approval', { conditions: [APPROVED] })],
  [
    'sign signers',
    (client) => replaceStatus(client, 'status', { certificate: Buffer.from(pem).toString('base64') }),
  ],
];

for (const [right, act] of NEEDED)
  test(`the server needs the right to ${right}`, async (t) => {
    const client = new KubernetesClient(openAccess(world.serverKubeconfig, {}), Math.random);
    await reset(right);
    const { manifests } = await render('production');
    const role = manifests.find(
      ({ kind, metadata }) => kind === 'ClusterRole' && metadata.name === 'carnet-server',
    );
    try {
      await replaceRole({ ...role, rules: withoutRight(role?.rules ?? [], right) });
      await until('it is refused', () =>
        act(client).then(
          async () => {
            // The API server has not heard of the role's change yet.
            await reset(right);
            return false;
          },
          (error: { code?: string }) => error.code === 'permission_denied',
        ),
      );
      await replaceRole({ ...role });
      await until('it is done', () =>
        act(client).then(
          () => true,
          () => false,
        ),
      );
      t.pass();
    } finally {
      client.close();
    }
  });

/** Nothing is there but a request, which can be signed once it is approved. */
async function reset(right: string): Promise<void> {
  const { kubectl, apply } = world.cluster;
  await kubectl('delete', 'clustertrustbundle', '--all');
  await kubectl('delete', 'configmap', 'carnet-trust-bundle', '--ignore-not-found');
  await kubectl('delete', 'csr', '--all');
  await apply(csrObject({ name: 'by-hand' }));
  if (right === 'sign signers') await kubectl('certificate', 'approve', 'by-hand');
}

function withoutRight(rules: readonly Rule[], right: string): Rule[] {
  const [verb, resource] = right.split(' ');
  return rules.map((rule) =>
    rule.resources.includes(resource ?? '')
      ? { ...rule, verbs: rule.verbs.filter((one) => one !== verb) }
      : rule,
  );
}

async function replaceRole(role: object): Promise<void> {
  const file = join(directory, 'role.yaml');
  writeFileSync(file, stringify(role));
  await world.cluster.kubectl('replace', '-f', file);
}

async function replaceStatus(
  client: KubernetesClient,
  subresource: string,
  status: object,
): Promise<unknown> {
  const current = (await client.get(csrPath)) as { status: object };
  return client.replace(`${csrPath}/${subresource}`, {
    ...current,
    status: { ...current.status, ...status },
  });
}

test("an agent's rights suffice to follow its node's pods, and none is spare", async (t) => {
  await world.cluster.kubectl('apply', '-n', 'carnet', '-f', join(MANIFESTS, 'base/agent-rbac.yaml'));
  await world.makePod({ name: 'beside' });
  const client = new KubernetesClient(
    openAccess(await world.kubeconfigOfAccount('carnet-agent'), {}),
    Math.random,
  );
  const pods = watchPodsOfNode({
    client,
    node: 'n1',
    parsePod,
    onFailed: () => undefined,
    random: Math.random,
  });
  const names = async (): Promise<string[]> => [...(await pods.current(0)).pods].map(({ name }) => name);
  await until('the pod is listed', async () => (await names()).includes('beside'));
  await world.makePod({ name: 'watched' });
  await until('the new pod is heard of', async () => (await names()).includes('watched'));
  await pods.close();
  client.close();
  const everybody = await rightsOf('system:serviceaccount:default:default');
  const agents = await rightsOf('system:serviceaccount:carnet:carnet-agent');
  t.deepEqual(
    agents.filter((right) => !everybody.includes(right)),
    ['pods [list watch]'],
  );
});

/** `<resource> <verbs>` of all that a user may, in no order. */
async function rightsOf(user: string): Promise<string[]> {
  const list = await world.cluster.kubectl('auth', 'can-i', '--list', `--as=${user}`);
  return list
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => line.replace(/\s+\[.*\]\s+(?=\[)/, ' '));
}
