import { X509Certificate } from 'node:crypto';
import test from 'ava';
import { type OwnCluster, startOwn, temporaryDirectory } from '../db/own-cluster.ts';
import type { CarnetProcess } from '../support/carnet.ts';
import { assertNoneFailed, startLoad } from '../support/load.ts';
import { type Mesh, oncePerPort, startMeshOn } from '../support/mesh.ts';
import { type Replicas, rootsOf, startReplicas } from '../support/replicas.ts';
import { ask, installStops, type Stops } from '../support/stops.ts';
import { until } from '../support/until.ts';

/**
 * Just before the commit of each step of a rotation, which is as well just after the one before it: its start, its
 * preparation, its publication, its activation, in the middle of its drain, its retirement.
 */
const STEPS = [
  'rotation.start',
  'authority.create',
  'authority.publish',
  'authority.activate',
  'leaf',
  'authority.retire',
] as const;
const ENVOYS = 4;
const PER_SECOND = 30;

type Kill = (stage: Stage, actor: string) => Promise<unknown>;

/** Each makes sure that what it killed comes up again; what it does meanwhile, goes on. */
const VICTIMS: Record<string, Kill> = {
  'the replica that acts': ({ replicas }, actor) => restart(replicas.servers[Number(actor.at(-1))]),
  'both replicas': ({ replicas }) => Promise.all(replicas.servers.map(restart)),
  Postgres: ({ cluster }) => killPostgres(cluster),
};

interface Stage {
  readonly cluster: OwnCluster;
  readonly url: string;
  readonly replicas: Replicas;
  readonly mesh: Mesh;
  readonly stops: Stops;
}

const stack = new AsyncDisposableStack();
let stage: Stage;

test.before(async (t) => {
  t.timeout(400_000);
  stage = await setStage();
});

test.after.always(() => stack.disposeAsync());

for (const [victim, kill] of Object.entries(VICTIMS))
  test.serial(
    `kill -9 of ${victim} at each step of a rotation: it is resumed, and no handshake fails`,
    async (t) => {
      t.timeout(400_000);
      const { replicas, mesh, stops, url } = stage;
      const load = startLoad(mesh.ports, PER_SECOND);
      try {
        const oldRoot = (await rootsOf(replicas)).find(({ state }) => state === 'active');
        const since = await lastEvent(url);
        await stops.set(STEPS);
        const rotate = () => replicas.cli(0, 'root', 'rotate', '--reason', victim);
        let rotated = rotate();
        for (const step of STEPS) {
          const begin = performance.now();
          const actor = await stops.reached(step);
          await kill(stage, actor);
          await stops.release(step);
          t.log(`${step}: ${actor} held, after ${Math.round(performance.now() - begin)} ms killed`);
          if (step !== 'rotation.start') continue;
          t.not((await rotated).code, 0);
          await ready(replicas);
          rotated = rotate();
        }
        const { code, stderr } = await rotated;
        t.is(code, 0, stderr);
        await ready(replicas);
        t.deepEqual(await authorityStates(url), [
          { kind: 'issuing', key: true, state: 'active', count: 1 },
          { kind: 'jwt', key: true, state: 'active', count: 1 },
          { kind: 'root', key: true, state: 'active', count: 1 },
        ]);
        t.deepEqual(await eventsSince(url, since), {
          'rotation.start': 1,
          'authority.create': 2,
          'authority.publish': 2,
          'authority.drain': 2,
          'authority.activate': 2,
          'authority.retire': 2,
        });
        const serial = new X509Certificate(oldRoot?.certificate ?? '').serialNumber.toLowerCase();
        await until('no Envoy trusts the old root', async () => {
          const trusted = await Promise.all(mesh.envoys.map((envoy) => envoy.admin('/certs')));
          return !trusted.some((certificates) => certificates.includes(serial));
        });
        await oncePerPort(load, mesh.ports);
        await assertNoneFailed(t, load);
      } finally {
        for (const step of STEPS) await stops.release(step);
        await load.stop();
      }
    },
  );

async function setStage(): Promise<Stage> {
  const directory = stack.use(temporaryDirectory());
  const cluster = stack.use(await startOwn(directory.path));
  const { url } = cluster.postgres;
  const database = { url, drop: async () => undefined };
  const replicas = stack.use(await startReplicas(2, ['--leaf-ttl', '1h', '--log-level', 'warn'], database));
  // That of whoever runs the first server would be granted to the Envoys too. After a kill, what none of them asks
  // for is waited for until they would have come back for it: 35 s.
  for (const { id } of await entriesOf(replicas)) await replicas.call(0, 'DELETE', `/v1/entries/${id}`);
  const mesh = await startMeshOn(replicas, ENVOYS);
  stack.defer(() => mesh.stop());
  return { cluster, url, replicas, mesh, stops: await installStops(url) };
}

async function entriesOf(replicas: Replicas): Promise<{ id: string }[]> {
  return ((await replicas.call(0, 'GET', '/v1/entries')) as { items: { id: string }[] }).items;
}

/** Does not wait until it is up: it may have to wait for what is held. */
async function restart(server: CarnetProcess | undefined): Promise<void> {
  await server?.kill();
  server?.start();
}

/** Its supervisor starts it again. */
async function killPostgres({ postgres }: OwnCluster): Promise<void> {
  const { pid } = postgres;
  process.kill(pid, 'SIGKILL');
  await until('Postgres answers again', async () => postgres.pid !== pid && answers(postgres.url));
}

function answers(url: string): Promise<boolean> {
  return ask(url, 'SELECT').then(
    () => true,
    () => false,
  );
}

async function ready({ servers }: Replicas): Promise<void> {
  await Promise.all(servers.map((server) => server.ready()));
}

/** Of all authorities that are not both retired and without their key. */
function authorityStates(url: string): Promise<object[]> {
  return ask(
    url,
    `SELECT kind, sealed_key IS NOT NULL AS key, state, count(*)::integer FROM authority
     WHERE sealed_key IS NOT NULL OR state <> 'retired' GROUP BY 1, 2, 3 ORDER BY 1`,
  );
}

async function lastEvent(url: string): Promise<string> {
  const [row] = await ask<{ id: string }>(url, 'SELECT max(id) AS id FROM operator_event');
  return row?.id ?? '0';
}

/** How many of each action of a rotation. */
async function eventsSince(url: string, id: string): Promise<Record<string, number>> {
  const rows = await ask<{ action: string; count: number }>(
    url,
    `SELECT action, count(*)::integer FROM operator_event
     WHERE id > $1 AND (action LIKE 'rotation.%' OR action LIKE 'authority.%') GROUP BY 1`,
    [id],
  );
  return Object.fromEntries(rows.map(({ action, count }) => [action, count]));
}
