import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { envoyBootstrap } from '../../src/cli/envoy-bootstrap.ts';
import { startCarnet } from '../support/carnet.ts';
import { envoyBinary, startEnvoy } from '../support/envoy.ts';
import { freePort } from '../support/free-port.ts';
import { startMesh } from '../support/mesh.ts';
import { until } from '../support/until.ts';

interface Proxy {
  readonly node_id: string | null;
  readonly resources: readonly {
    readonly name: string;
    readonly version_acknowledged: string | null;
    readonly version_observed: string | null;
  }[];
}

interface Rotation {
  readonly consumers: number;
  readonly acknowledged: number;
  readonly observed: number;
  readonly laggard_count: number;
}

type Carnet = Awaited<ReturnType<typeof startCarnet>>;

const ENVOYS = 3;
const LOCALHOST = '127.0.0.1';

test('what Envoys are seen to use is counted beside what they acknowledged', async (t) => {
  t.timeout(120_000);
  await using carnet = await startCarnet(['--log-level', 'warn']);
  const mesh = await startMesh({
    count: ENVOYS,
    agentSockets: [carnet.agentSocket],
    trustDomain: 'carnet.local',
    register: (entry) => carnet.call('POST', '/v1/entries', entry),
  });
  try {
    await until('both secrets of every Envoy are seen in use', async () => {
      const resources = (await proxiesOf(carnet)).flatMap((proxy) => proxy.resources);
      return resources.length === 2 * ENVOYS && resources.every(isSeen);
    });
    t.is((await carnet.cli('root', 'prepare')).code, 0);
    await until('every Envoy is seen to trust the new root', async () => {
      const { consumers, acknowledged, observed, laggard_count } = await rotationOf(carnet);
      return [consumers, acknowledged, observed].every((n) => n === ENVOYS) && laggard_count === 0;
    });
    const { stdout } = await carnet.cli('root', 'status');
    t.regex(stdout, new RegExp(`observed +\\[#+\\] ${ENVOYS} of ${ENVOYS}`));
    const { code, stderr } = await carnet.cli('root', 'rotate');
    t.is(code, 0, stderr);
  } finally {
    await mesh.stop();
  }
});

test('an Envoy that acknowledges a certificate and cannot present it yet is not seen to, and holds nothing up for good', async (t) => {
  t.timeout(120_000);
  await using carnet = await startCarnet(['--log-level', 'warn']);
  const binary = envoyBinary() ?? '';
  const selectors = [`unix:uid:${process.getuid?.()}`, `unix:path:${binary}`];
  await carnet.call('POST', '/v1/entries', { id: 'one', spiffe_id: '/one', selectors });
  const config = envoyBootstrap({
    sdsFrom: carnet.agentSocket,
    nodeId: 'warming',
    admin: { host: LOCALHOST, port: await freePort() },
    apiType: 'GRPC',
    inbound: { listen: { host: LOCALHOST, port: 0 }, app: { host: LOCALHOST, port: 9 }, peers: [] },
    outbound: [],
  });
  // Its listener waits for a trust bundle that nobody grants it.
  const envoy = await startEnvoy({
    config: JSON.parse(JSON.stringify(config).replaceAll('"ROOTCA"', '"spiffe://elsewhere.test"')),
  });
  try {
    await until(
      'it acknowledges its certificate',
      async () => defaultOf(await proxiesOf(carnet)) !== undefined,
    );
    t.false((await envoy.admin('/certs')).includes('spiffe://carnet.local/one'));
    t.is(defaultOf(await proxiesOf(carnet))?.version_observed, null);
    const { code, stderr } = await carnet.cli('root', 'rotate');
    t.is(code, 0, stderr);
  } finally {
    await envoy.stop();
  }
});

test('an Envoy with its admin interface on a Unix socket is seen too', async (t) => {
  t.timeout(120_000);
  await using carnet = await startCarnet(['--log-level', 'warn']);
  const directory = await mkdtemp(join(tmpdir(), 'carnet-admin-'));
  const binary = envoyBinary() ?? '';
  const selectors = [`unix:uid:${process.getuid?.()}`, `unix:path:${binary}`];
  await carnet.call('POST', '/v1/entries', { id: 'one', spiffe_id: '/one', selectors });
  const config = envoyBootstrap({
    sdsFrom: carnet.agentSocket,
    nodeId: 'socket',
    admin: { path: join(directory, 'admin.sock') },
    apiType: 'DELTA_GRPC',
    inbound: { listen: { host: LOCALHOST, port: 0 }, app: { host: LOCALHOST, port: 9 }, peers: [] },
    outbound: [],
  });
  const args = ['--config-yaml', JSON.stringify(config), '--concurrency', '1', '--disable-hot-restart'];
  const envoy = spawn(binary, args, { stdio: 'ignore', detached: true });
  try {
    await until('it is seen to use what it acknowledged', async () => {
      const resources = (await proxiesOf(carnet)).flatMap((proxy) => proxy.resources);
      return resources.length === 2 && resources.every(isSeen);
    });
    t.pass();
  } finally {
    const ended = once(envoy, 'exit');
    envoy.kill();
    await ended;
    await rm(directory, { recursive: true });
  }
});

async function proxiesOf(carnet: Carnet): Promise<readonly Proxy[]> {
  return ((await carnet.call('GET', '/v1/proxies')) as { items: readonly Proxy[] }).items;
}

async function rotationOf(carnet: Carnet): Promise<Rotation> {
  const { items } = (await carnet.call('GET', '/v1/rotations')) as { items: readonly Rotation[] };
  return items[0] ?? { consumers: 0, acknowledged: 0, observed: 0, laggard_count: 0 };
}

function defaultOf(proxies: readonly Proxy[]): Proxy['resources'][number] | undefined {
  return proxies
    .flatMap(({ resources }) => resources)
    .find(({ name, version_acknowledged }) => name === 'default' && version_acknowledged !== null);
}

function isSeen({ version_acknowledged, version_observed }: Proxy['resources'][number]): boolean {
  return version_acknowledged !== null && version_observed === version_acknowledged;
}
