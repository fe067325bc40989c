import { X509Certificate } from 'node:crypto';
import test from 'ava';
import pg from 'pg';
import { assertNoneFailed, startLoad } from '../support/load.ts';
import { type Mesh, oncePerPort, startMeshOn } from '../support/mesh.ts';
import { type Replicas, rootsOf, startReplicas } from '../support/replicas.ts';
import { until } from '../support/until.ts';

const ENVOYS = 10;
const PER_SECOND = 60;
const SERVER = ['--leaf-ttl', '1h', '--log-level', 'warn'];

for (const verb of ['rotate', 'taint'] as const)
  test.serial(
    `root ${verb}: Envoys on two replicas that all call each other fail no handshake`,
    async (t) => {
      t.timeout(400_000);
      await using replicas = await startReplicas(2, SERVER);
      const mesh = await startMeshOn(replicas, ENVOYS);
      const load = startLoad(mesh.ports, PER_SECOND);
      try {
        const [oldRoot] = await rootsOf(replicas);
        const begin = performance.now();
        const yes = verb === 'taint' ? ['--yes'] : [];
        const { code, stderr } = await replicas.cli(1, 'root', verb, ...yes, '--reason', 'test');
        const seconds = ((performance.now() - begin) / 1000).toFixed(1);
        t.is(code, 0, stderr);
        await oncePerPort(load, mesh.ports);
        t.log(`${ENVOYS} Envoys on two replicas: ${seconds} s from start to retired`);
        t.is((await rootsOf(replicas)).find(({ id }) => id === oldRoot?.id)?.state, 'retired');
        const serial = new X509Certificate(oldRoot?.certificate ?? '').serialNumber.toLowerCase();
        for (const envoy of mesh.envoys) t.false((await envoy.admin('/certs')).includes(serial));
        await assertNoneFailed(t, load);
      } finally {
        await load.stop();
        await mesh.stop();
      }
    },
  );

test.serial('without its gates the same rotation does fail handshakes', async (t) => {
  t.timeout(400_000);
  await using replicas = await startReplicas(2, SERVER);
  const mesh = await startMeshOn(replicas, 4);
  const load = startLoad(mesh.ports, PER_SECOND);
  const deaf = replicas.servers[1]?.pid ?? 0;
  try {
    await allReported(replicas, mesh);
    // The Envoys of this replica hear of no new root, while those of the other get leaves under it.
    process.kill(deaf, 'SIGSTOP');
    t.is((await replicas.cli(0, 'root', 'prepare')).code, 0);
    await until('the new root is published', async () =>
      (await rootsOf(replicas)).some(({ state }) => state === 'published'),
    );
    t.is((await replicas.cli(0, 'root', 'activate')).code, 1);
    t.is((await replicas.cli(0, 'root', 'activate', '--force', '--yes')).code, 0);
    await until('a handshake fails', () => load.stats.failures > 0);
  } finally {
    process.kill(deaf, 'SIGCONT');
    await load.stop();
    await mesh.stop();
  }
  t.log(
    `${load.stats.handshakes} handshakes, ${load.stats.failures} failed: ${load.stats.errors[0]?.slice(0, 200)}`,
  );
  t.true(load.stats.failures > 0);
});

/** Until every Envoy's acknowledgement of the bundle is in the database. */
async function allReported(replicas: Replicas, mesh: Mesh): Promise<void> {
  const client = new pg.Client(replicas.database.url);
  await client.connect();
  try {
    await until('every Envoy is reported', async () => {
      const { rows } = await client.query('SELECT FROM consumer WHERE bundle_acknowledged IS NOT NULL');
      return rows.length === mesh.envoys.length;
    });
  } finally {
    await client.end();
  }
}
