import { generateKeyPairSync } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import anyTest, { type TestFn } from 'ava';
import { AgentLink } from '../../src/agent/link/agent-link.ts';
import { joinTokenAttestor } from '../../src/agent/link/join-token.ts';
import type { NodeAttestor } from '../../src/agent/link/node-attestor.ts';
import { tokenFileAttestor } from '../../src/agent/link/token-file.ts';
import { parseSelector } from '../../src/identity/selector.ts';
import { parseSpiffeId, parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { createLogger } from '../../src/log.ts';
import { buildCsr } from '../../src/x509/build-csr.ts';
import { decodePem } from '../../src/x509/pem.ts';
import { fetchRoots } from '../support/bundle.ts';
import type { CarnetProcess } from '../support/carnet.ts';
import { freePort } from '../support/free-port.ts';
import { clusterMissing } from '../support/kubernetes.ts';
import { until } from '../support/until.ts';
import { startWorld, type World } from './world.ts';

const missing = clusterMissing();
const test = (missing === null ? anyTest.serial : anyTest.skip) as TestFn;
const directory = mkdtempSync(join(tmpdir(), 'carnet-confirm-'));
let world: World;
let carnet: CarnetProcess;
let port: number;
let roots: Uint8Array[];
/** Of the pod on the node n1, by its agent. */
let web: Pod;
let n1: AgentLink;
const links: AgentLink[] = [];

const SOURCE = (kubeconfig: string) =>
  `k8s_psat:\n  - {name: production, service_accounts: [carnet/carnet-agent], token_review: ${kubeconfig}}\n`;
const IMAGE = 'docker.io/library/app:1';
const ENTRIES = [
  { id: 'account', spiffe_id: '/account', selectors: ['k8s:ns:shop', 'k8s:sa:web'] },
  { id: 'admin', spiffe_id: '/admin', selectors: ['k8s:ns:shop', 'k8s:pod-label:role:admin'] },
  { id: 'by-label', spiffe_id: '/shard/{k8s:pod-label:shard}', selectors: ['k8s:ns:shop', 'k8s:sa:web'] },
  { id: 'app', spiffe_id: '/app', selectors: ['k8s:ns:shop', 'k8s:container-name:app'] },
  { id: 'debug', spiffe_id: '/debug', selectors: ['k8s:ns:shop', 'k8s:container-name:debug'] },
  { id: 'image', spiffe_id: '/image', selectors: ['k8s:ns:shop', `k8s:container-image:${IMAGE}`] },
  { id: 'user', spiffe_id: '/user', selectors: ['unix:uid:1000'] },
];

interface Pod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly account: string;
  readonly node: string;
}

if (missing !== null) anyTest(`left out: ${missing}`, (t) => t.pass());
else {
  anyTest.before(async () => {
    world = await startWorld();
    await world.makePod({ namespace: 'carnet', name: 'carnet-agent-1', serviceAccount: 'carnet-agent' });
    await world.cluster.apply({ apiVersion: 'v1', kind: 'Node', metadata: { name: 'n2' } });
    port = await freePort();
    const sources = join(directory, 'nodes.yaml');
    writeFileSync(sources, SOURCE(world.serverKubeconfig));
    carnet = await world.start('--grpc-addr', `127.0.0.1:${port}`, '--node-attestation', sources);
    roots = decodePem('CERTIFICATE', await fetchRoots(carnet.url));
    for (const entry of ENTRIES) await carnet.call('POST', '/v1/entries', entry);
    web = await makePod('web-1', { labels: { app: 'web', shard: 'a' } });
    n1 = await startLink(await psatAttestor());
  });
  anyTest.after.always(async () => {
    for (const link of links) await link.close();
    await world?.close();
    rmSync(directory, { recursive: true });
  });
}

async function makePod(name: string, more: { node?: string; labels?: Record<string, string> } = {}) {
  const pod = { namespace: 'shop', name, node: 'n1', ...more };
  const { uid } = await world.makePod({ ...pod, serviceAccount: 'web' });
  return { ...pod, uid, account: 'web' };
}

/** By the token of the agent's pod on n1, as the manifests have it. */
async function psatAttestor(): Promise<NodeAttestor> {
  const bound = ['--bound-object-kind', 'Pod', '--bound-object-name', 'carnet-agent-1'];
  const args = ['create', 'token', 'carnet-agent', '-n', 'carnet', '--audience', 'carnet', ...bound];
  const file = join(directory, 'token');
  writeFileSync(file, await world.cluster.kubectl(...args), { mode: 0o600 });
  return tokenFileAttestor('k8s_psat', file);
}

/** By an operator's join token, with what he says of the node. */
async function joinAttestor(node: string, selectors: readonly string[]): Promise<NodeAttestor> {
  const made = await carnet.call('POST', '/v1/join-tokens', { node, selectors });
  const { token } = made as { token: string };
  return joinTokenAttestor(async () => token, '--join-token');
}

/** A real agent's link, which is up. */
async function startLink(attestor: NodeAttestor): Promise<AgentLink> {
  const link = new AgentLink({
    servers: [{ host: '127.0.0.1', port }],
    trustDomain: parseTrustDomain('carnet.local'),
    attestor,
    readTrustBundle: async () => roots,
    version: 'test',
    health: () => ({ instances: 0, certificates: 0, failing: 0, soonestEndMs: 0 }),
    kept: null,
    clock: Date.now,
    random: Math.random,
    log: createLogger('fatal'),
  });
  links.push(link);
  link.start();
  await until('the link is up', () => link.status().connected);
  return link;
}

/** What an agent says of a container of the pod, true or not. */
function claim({ namespace, name, uid, account, node }: Pod, ...more: string[]): string[] {
  const ofPod = [
    `ns:${namespace}`,
    `pod-name:${name}`,
    `pod-uid:${uid}`,
    `sa:${account}`,
    `node-name:${node}`,
  ];
  return [...ofPod.map((fact) => `k8s:${fact}`), 'unix:uid:1000', ...more];
}

/** Asks for what an entry grants. Rejects with the server's own code and words. */
function issue(link: AgentLink, entryId: string, path: string, selectors: readonly string[]) {
  const csr = buildCsr(generateKeyPairSync('ec', { namedCurve: 'P-256' }));
  return link.issue({ ...requestFor(link, entryId, path, selectors), csr });
}

function requestFor(link: AgentLink, entryId: string, path: string, selectors: readonly string[]) {
  const spiffeId = parseSpiffeId(`spiffe://carnet.local${path}`);
  const { node } = link.identity();
  return {
    grant: {
      ...{ entryId, entryVersion: 1, spiffeId, dnsNames: [] },
      ...{ ttlSeconds: null, hint: null, federatesWith: [] },
    },
    attestation: {
      instance: `container:${'0'.repeat(64)}`,
      selectors: selectors.map(parseSelector),
      evidence: {},
    },
    node,
    requester: `agent:${node}`,
  };
}

test('a pod on the agent’s own node gets what the entries grant it, as soon as it is made', async (t) => {
  const pod = await makePod('just-made');
  await t.notThrowsAsync(issue(n1, 'account', '/account', claim(pod)));
  const labels = ['k8s:pod-label:app:web', 'k8s:pod-label:shard:a'];
  await t.notThrowsAsync(issue(n1, 'by-label', '/shard/a', claim(web, ...labels)));
  await t.notThrowsAsync(issue(n1, 'app', '/app', claim(web, 'k8s:container-name:app')));
  // On an image there is no other word than the node's.
  await t.notThrowsAsync(issue(n1, 'image', '/image', claim(web, `k8s:container-image:${IMAGE}`)));
});

const REFUSED: [
  what: string,
  says: RegExp,
  claimed: () => Promise<[entry: string, path: string, selectors: string[]]>,
][] = [
  [
    'a pod of another node',
    /the pod shop\/web-2 is on node n2, not n1$/,
    async () => ['account', '/account', claim(await makePod('web-2', { node: 'n2' }))],
  ],
  [
    'a pod of another node as one of its own',
    /the pod shop\/web-3 is on node n2, not n1$/,
    async () => ['account', '/account', claim({ ...(await makePod('web-3', { node: 'n2' })), node: 'n1' })],
  ],
  [
    'a pod that ended',
    /the pod shop\/ended has ended$/,
    async () => {
      const pod = await makePod('ended');
      const patch = ['patch', 'pod', 'ended', '-n', 'shop', '--subresource=status'];
      await world.cluster.kubectl(...patch, '-p', '{"status": {"phase": "Succeeded"}}');
      return ['account', '/account', claim(pod)];
    },
  ],
  [
    'a pod that is gone',
    /the pod shop\/deleted is gone$/,
    async () => {
      const pod = await makePod('deleted');
      await world.cluster.kubectl('delete', 'pod', 'deleted', '-n', 'shop', '--force', '--grace-period=0');
      return ['account', '/account', claim(pod)];
    },
  ],
  [
    'a pod that there never was',
    /the pod shop\/never is gone$/,
    async () => ['account', '/account', claim({ ...web, name: 'never' })],
  ],
  [
    'the pod that had the name before',
    /the pod shop\/web-1 has UID .*: it was made anew$/,
    async () => ['account', '/account', claim({ ...web, uid: '9f7e6d5c-4b3a-4210-9876-543210fedcba' })],
  ],
  [
    'another service account',
    /the pod shop\/other runs as service account default, not web$/,
    async () => {
      const { uid } = await world.makePod({ namespace: 'shop', name: 'other' });
      return ['account', '/account', claim({ ...web, name: 'other', uid })];
    },
  ],
  [
    'an invented label',
    /the pod shop\/web-1 has no k8s:pod-label:role:admin$/,
    async () => ['admin', '/admin', claim(web, 'k8s:pod-label:app:web', 'k8s:pod-label:role:admin')],
  ],
  [
    'an invented label that fills a placeholder',
    /the pod shop\/web-1 has no k8s:pod-label:shard:b$/,
    async () => ['by-label', '/shard/b', claim(web, 'k8s:pod-label:shard:b')],
  ],
  [
    'an invented container',
    /the pod shop\/web-1 has no k8s:container-name:debug$/,
    async () => ['debug', '/debug', claim(web, 'k8s:container-name:debug')],
  ],
  [
    'a namespace beside the pod’s own',
    /a pod is claimed without one k8s:ns$/,
    async () => ['account', '/account', claim({ ...web, namespace: 'carnet' }, 'k8s:ns:shop')],
  ],
  [
    'a namespace and an account of no pod at all',
    /a pod is claimed without one k8s:pod-name$/,
    async () => ['account', '/account', ['k8s:ns:shop', 'k8s:sa:web']],
  ],
  [
    'a name that leads elsewhere in the API',
    /"shop\/..\/services" is no pod's name$/,
    async () => ['account', '/account', claim({ ...web, name: '../services' })],
  ],
];

for (const [what, says, claimed] of REFUSED)
  test(`an agent that claims ${what} is refused, on record`, async (t) => {
    const [entry, path, selectors] = await claimed();
    await t.throwsAsync(issue(n1, entry, path, selectors), { code: 'attestation_failed', message: says });
    await recorded('n1', says);
    t.pass();
  });

async function recorded(node: string, says: RegExp): Promise<void> {
  await until('it is on record', async () => {
    const rows = await world.query(
      `SELECT reason, after->>'code' AS code FROM operator_event WHERE action = 'agent.refuse' AND subject = '${node}'`,
    );
    return (rows as { reason: string; code: string }[]).some(
      ({ reason, code }) => code === 'attestation_failed' && says.test(reason),
    );
  });
}

test('nor is a token minted for what is not so', async (t) => {
  const mint = (selectors: readonly string[]) =>
    n1.mintJwt({ ...requestFor(n1, 'admin', '/admin', selectors), audience: ['db'] });
  const refused = { code: 'attestation_failed', message: /has no k8s:pod-label:role:admin$/ };
  await t.throwsAsync(mint(claim(web, 'k8s:pod-label:role:admin')), refused);
  const admin = await makePod('admin', { labels: { role: 'admin' } });
  await t.notThrowsAsync(mint(claim(admin, 'k8s:pod-label:role:admin')));
});

test('what is not so is of no matter to an entry that does not ask for it', async (t) => {
  const changed = claim(web, 'k8s:pod-label:role:admin');
  await t.notThrowsAsync(issue(n1, 'account', '/account', changed), 'a label may change while the pod runs');
  await t.notThrowsAsync(issue(n1, 'user', '/user', claim({ ...web, name: 'never' })));
});

test('an agent that is on no node of the cluster has no say over its pods', async (t) => {
  const elsewhere = await startLink(await joinAttestor('elsewhere', []));
  const says = /the agent of elsewhere has not shown that it is on a node of the cluster/;
  const refused = { code: 'attestation_failed', message: says };
  await t.throwsAsync(issue(elsewhere, 'account', '/account', claim(web)), refused);
  await recorded('elsewhere', says);
  await t.notThrowsAsync(issue(elsewhere, 'user', '/user', ['unix:uid:1000']));
});

test('nor has one of another cluster whose node has the same name', async (t) => {
  const shown = ['node:k8s:node-name:n1', 'node:k8s:node-uid:9f7e6d5c-4b3a-4210-9876-543210fedcba'];
  const other = await startLink(await joinAttestor('other-n1', shown));
  await t.throwsAsync(issue(other, 'account', '/account', claim(web)), {
    code: 'attestation_failed',
    message: /the cluster's node n1 has UID .*: it is another one$/,
  });
});

test('nor has one whose node the cluster has not', async (t) => {
  const shown = ['node:k8s:node-name:n9', 'node:k8s:node-uid:9f7e6d5c-4b3a-4210-9876-543210fedcba'];
  const other = await startLink(await joinAttestor('other-n9', shown));
  const refused = { code: 'attestation_failed', message: /the cluster has no node n9$/ };
  await t.throwsAsync(issue(other, 'account', '/account', claim(web)), refused);
});

test('an agent outside of any pod is on the node that its operator’s token says', async (t) => {
  const outside = await startLink(await joinAttestor('outside', ['node:k8s:node-name:n2']));
  await t.notThrowsAsync(
    issue(outside, 'account', '/account', claim(await makePod('web-4', { node: 'n2' }))),
  );
  await t.throwsAsync(issue(outside, 'account', '/account', claim(web)), { message: /on node n1, not n2$/ });
  await recorded('outside', /on node n1, not n2$/);
});

test('with the API server away, known pods go on, and for others it is to be tried again', async (t) => {
  await t.notThrowsAsync(issue(n1, 'account', '/account', claim(web)));
  await world.cluster.down();
  const before = await world.query(
    "SELECT count(*) AS refused FROM operator_event WHERE action = 'agent.refuse'",
  );
  await t.notThrowsAsync(issue(n1, 'account', '/account', claim(web)));
  await t.throwsAsync(issue(n1, 'account', '/account', claim({ ...web, name: 'unheard-of' })), {
    code: 'unavailable',
    message: /the API server can't be asked about the pod shop\/unheard-of/,
  });
  const after = await world.query(
    "SELECT count(*) AS refused FROM operator_event WHERE action = 'agent.refuse'",
  );
  t.deepEqual(after, before, 'nobody is blamed for it');
});
