import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { postgresPid, startCarnet } from '../support/carnet.ts';
import { assertNoneFailed, startLoad } from '../support/load.ts';
import { oncePerPort, portsAmong, startMesh, startMeshOn } from '../support/mesh.ts';
import { type Replicas, rootsOf, startReplicas } from '../support/replicas.ts';
import { until } from '../support/until.ts';

const PER_SECOND = 40;

interface Issuances {
  readonly items: readonly { serial: string; instance: string; not_after: string }[];
}

test.serial(
  'a root rotation with revocations in place fails none and waits for none of them; a revoked instance gets nothing more',
  async (t) => {
    t.timeout(400_000);
    await using replicas = await startReplicas(2, ['--leaf-ttl', '1h', '--log-level', 'error']);
    const mesh = await startMeshOn(replicas, 4);
    const others = portsAmong(mesh, [1, 2, 3]);
    const own = mesh.ports.filter((port) => !others.includes(port));
    const load = startLoad(others, PER_SECOND);
    try {
      const { items: before } = await issued(replicas, '/mesh/mesh-0');
      // Asked for at the replica that does not serve it.
      const revoke = ['revoke', '--instance', before[0]?.instance ?? '', '--yes', '--reason', 'test'];
      const { code, stderr } = await replicas.cli(1, ...revoke);
      const begin = performance.now();
      t.is(code, 0, stderr);
      for (const port of own) await until('it is refused', async () => (await statusOf(port)) !== 200);
      t.log(`refused ${(performance.now() - begin).toFixed(0)} ms after carnet revoke had ended`);

      const [oldRoot] = await rootsOf(replicas);
      const rotation = performance.now();
      const rotated = await replicas.cli(1, 'root', 'rotate', '--reason', 'test');
      t.is(rotated.code, 0, rotated.stderr);
      t.log(`root rotated in ${((performance.now() - rotation) / 1000).toFixed(1)} s`);
      t.is((await rootsOf(replicas)).find(({ id }) => id === oldRoot?.id)?.state, 'retired');
      await oncePerPort(load, others);
      await assertNoneFailed(t, load);

      // Its agent starts anew, and attests it anew.
      await replicas.servers[0]?.kill();
      await replicas.servers[0]?.restart();
      await until('it has reconnected', async () => {
        const { items } = (await replicas.call(0, 'GET', '/v1/proxies')) as { items: { node_id: string }[] };
        return items.some(({ node_id }) => node_id === 'mesh-0');
      });
      const { items: after } = await issued(replicas, '/mesh/mesh-0');
      t.deepEqual(
        after.map(({ serial }) => serial),
        before.map(({ serial }) => serial),
      );
      for (const port of own) t.not(await statusOf(port), 200);
    } finally {
      await load.stop();
      await mesh.stop();
    }
  },
);

test.serial('a revoked identity is had on no replica until the denial is lifted', async (t) => {
  t.timeout(400_000);
  await using replicas = await startReplicas(2, ['--leaf-ttl', '1h', '--log-level', 'error']);
  const selectors = [`unix:uid:${process.getuid?.()}`];
  await replicas.call(0, 'POST', '/v1/entries', { id: 'me', spiffe_id: '/me', selectors });
  const got = async (index: number) => {
    const ended = await replicas.servers[index]?.cli('fetch', '--json', '--identity', ME, '--timeout', '5');
    return ended?.code === 0;
  };
  for (const index of [0, 1]) await until('it is had', () => got(index));
  const revoked = await replicas.cli(0, 'revoke', '--identity', '/me', '--yes', '--json');
  t.is(revoked.code, 0, revoked.stderr);
  const { denial_id, certificates } = JSON.parse(revoked.stdout);
  t.true(certificates >= 2);
  const before = (await issued(replicas, '/me')).items.length;
  for (const index of [0, 1]) t.false(await got(index));
  t.is((await issued(replicas, '/me')).items.length, before);
  const lifted = await replicas.cli(1, 'revoke', '--lift', String(denial_id));
  t.is(lifted.code, 0, lifted.stderr);
  for (const index of [0, 1]) await until('it is had again', () => got(index));
});

const ME = 'spiffe://carnet.local/me';

test.serial(
  'with revocations in place and nobody left to ask, the others go on until their certificates end',
  async (t) => {
    t.timeout(400_000);
    await using carnet = await startCarnet(['--leaf-ttl', '40s', '--log-level', 'error']);
    const mesh = await startMesh({
      count: 3,
      agentSockets: [carnet.agentSocket],
      trustDomain: 'carnet.local',
      register: (entry) => carnet.call('POST', '/v1/entries', entry),
    });
    const others = portsAmong(mesh, [1, 2]);
    const own = mesh.ports.filter((port) => !others.includes(port));
    const load = startLoad(others, PER_SECOND);
    try {
      const issuedTo = async (name: string) =>
        ((await carnet.call('GET', `/v1/issuances?identity=/mesh/${name}&limit=1`)) as Issuances).items[0];
      const instance = (await issuedTo('mesh-0'))?.instance;
      await carnet.call('POST', '/v1/revocations', { instance, reason: 'test' });
      for (const port of own) await until('it is refused', async () => (await statusOf(port)) !== 200);
      const postgres = await until('Postgres runs', () => postgresPid(carnet.dataDir));
      const ends = [(await issuedTo('mesh-1'))?.not_after, (await issuedTo('mesh-2'))?.not_after];
      await carnet.kill();
      process.kill(postgres, 'SIGKILL');
      const end = Math.min(...ends.map((time) => Date.parse(time ?? '')));
      const before = load.stats.handshakes;
      await pause(end - Date.now() - 1000);
      t.log(
        `${load.stats.handshakes - before} handshakes with nobody left to ask, ${load.stats.failures} failed`,
      );
      t.true(load.stats.handshakes > before + 100);
      t.is(load.stats.failures, 0, load.stats.errors.join('\n'));
      for (const port of own) t.not(await statusOf(port), 200);
      await until('their certificates have ended', () => load.stats.failures > 0);
      t.true(Date.now() >= end);
    } finally {
      await load.stop();
      await mesh.stop();
    }
  },
);

async function issued(replicas: Replicas, identity: string): Promise<Issuances> {
  return (await replicas.call(1, 'GET', `/v1/issuances?identity=${identity}`)) as Issuances;
}

/** Of a request through an Envoy, which makes a connection of its own to the peer. */
async function statusOf(port: number): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } });
  await response.arrayBuffer();
  return response.status;
}
