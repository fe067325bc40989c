import test from 'ava';
import { postgresPid, startCarnet } from '../support/carnet.ts';
import { startLoad } from '../support/load.ts';
import { startMesh } from '../support/mesh.ts';
import { until } from '../support/until.ts';

const ENVOYS = 4;
const TRIES = 20;

interface Proxies {
  readonly items: readonly { node_id: string; instance: string }[];
}

test.serial(
  'a revoked instance is refused by every Envoy at its next handshake, and the others are untouched',
  async (t) => {
    t.timeout(400_000);
    await using carnet = await startCarnet(['--leaf-ttl', '1h', '--log-level', 'error']);
    const mesh = await startMesh({
      count: ENVOYS,
      agentSockets: [carnet.agentSocket],
      trustDomain: 'carnet.local',
      register: (entry) => carnet.call('POST', '/v1/entries', entry),
    });
    /** The ports of one Envoy, to each other; the ports among the others. */
    const own = (index: number): readonly number[] =>
      mesh.ports.slice(index * (ENVOYS - 1), (index + 1) * (ENVOYS - 1));
    const others = [1, 2, 3].flatMap((from) => own(from).filter((_, to) => to > 0));
    const load = startLoad(others, 40);
    try {
      const { items } = (await carnet.call('GET', '/v1/proxies')) as Proxies;
      const instance = items.find(({ node_id }) => node_id === 'mesh-0')?.instance ?? '';
      const refusals: number[] = [];
      for (let i = 0; i < TRIES; i++) {
        for (const port of own(0)) await until('it is accepted', async () => (await statusOf(port)) === 200);
        const denial = (await carnet.call('POST', '/v1/revocations', { instance, reason: 'test' })) as {
          denial_id: number;
        };
        const begin = performance.now();
        for (const port of own(0)) await until('it is refused', async () => (await statusOf(port)) !== 200);
        refusals.push(performance.now() - begin);
        await until('it is withdrawn', async () => (await identitiesOf(carnet, 'mesh-0')).length === 0);
        // Each is a sign of life: AVA gives up what says nothing.
        t.pass();
        await carnet.call('DELETE', `/v1/revocations/${denial.denial_id}`);
      }
      refusals.sort((a, b) => a - b);
      const [median = 0, worst = 0] = [refusals[TRIES / 2], refusals.at(-1)];
      t.log(
        `refused by every Envoy after ${median.toFixed(0)} ms (median of ${TRIES}), at worst ${worst.toFixed(0)} ms`,
      );

      // What is revoked stays so, and the rest goes on, with nobody left to ask.
      await carnet.call('POST', '/v1/revocations', { instance, reason: 'test' });
      for (const port of own(0)) await until('it is refused', async () => (await statusOf(port)) !== 200);
      const before = load.stats.handshakes;
      const postgres = postgresPid(carnet.dataDir);
      await carnet.kill();
      if (postgres !== undefined) process.kill(postgres, 'SIGKILL');
      await until('the others go on', () => load.stats.handshakes + load.stats.failures > before + 100);
      for (const port of own(0)) t.not(await statusOf(port), 200);
      await load.stop();
      t.log(`others: ${load.stats.handshakes} handshakes, ${load.stats.failures} failed`);
      t.deepEqual(load.stats.errors, []);
      t.is(load.stats.failures, 0);
    } finally {
      await load.stop();
      await mesh.stop();
    }
  },
);

async function identitiesOf(
  carnet: { call(method: string, path: string): Promise<unknown> },
  node: string,
): Promise<string[]> {
  const { items } = (await carnet.call('GET', '/v1/proxies')) as {
    items: { node_id: string; identities: string[] }[];
  };
  return items.filter(({ node_id }) => node_id === node).flatMap(({ identities }) => identities);
}

/** Of a request through the Envoy, which makes a connection of its own to the peer. */
async function statusOf(port: number): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } });
  await response.arrayBuffer();
  return response.status;
}
