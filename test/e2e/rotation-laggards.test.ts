import test from 'ava';
import type { RotationBody } from '../../src/api/rotations.ts';
import { assertNoneFailed, startLoad } from '../support/load.ts';
import { oncePerPort, portsAmong, startMeshOn } from '../support/mesh.ts';
import { type Replicas, rootsOf, startReplicas } from '../support/replicas.ts';
import { SDS_PROXY_SELECTORS, startSdsProxy } from '../support/sds-proxy.ts';
import { until } from '../support/until.ts';

const SERVER = ['--leaf-ttl', '1h', '--log-level', 'warn'];
const PER_SECOND = 40;
/** Envoy's own words. */
const REFUSAL = 'Failed to load trusted CA certificates from <inline>';

test.serial(
  'activation refuses while a proxy is silent, one rejects the bundle and one is stopped; it names each, and goes on once they recover',
  async (t) => {
    t.timeout(400_000);
    await using replicas = await startReplicas(2, SERVER);
    await registerProxies(replicas);
    await using silent = await startSdsProxy(socketOf(replicas, 0), 'silent', 'nothing');
    await using rejecting = await startSdsProxy(socketOf(replicas, 1), 'rejecting', 'acknowledge');
    const mesh = await startMeshOn(replicas, 4);
    const stopped = mesh.envoys[3]?.pid ?? 0;
    const others = portsAmong(mesh, [0, 1, 2]);
    const load = startLoad(others, PER_SECOND);
    try {
      const [oldRoot] = await rootsOf(replicas);
      rejecting.tell({ answer: 'reject', message: REFUSAL });
      process.kill(stopped, 'SIGSTOP');
      t.is((await replicas.cli(0, 'root', 'prepare')).code, 0);
      await until('only those three are waited for, and why is known', async () => {
        const laggards = await laggardsOf(replicas);
        return namesOf(laggards).length === 3 && laggards.some(({ problem }) => problem !== null);
      });

      const refused = await replicas.cli(1, 'root', 'activate');
      t.is(refused.code, 1);
      t.log(refused.stderr.trim());
      for (const name of ['silent', 'rejecting', 'mesh-3']) t.true(refused.stderr.includes(name), name);
      const shown = await statusOf(replicas, 1);
      t.deepEqual(namesOf(shown), ['mesh-3', 'rejecting', 'silent']);
      for (const { names, why, problem } of shown) {
        t.is(why, 'has not acknowledged the bundle');
        t.is(problem, names.includes('rejecting') ? REFUSAL : null);
      }

      const rotated = replicas.cli(0, 'root', 'rotate', '--reason', 'on its own from here');
      await until('it goes on by itself', async () => (await rotationOf(replicas))?.hands_free);
      silent.tell({ answer: 'acknowledge' });
      await untilWaitingFor(replicas, ['mesh-3', 'rejecting']);
      rejecting.tell({ answer: 'acknowledge', reconnect: true });
      await untilWaitingFor(replicas, ['mesh-3']);
      t.is((await rootsOf(replicas)).find(({ id }) => id === oldRoot?.id)?.state, 'active');
      process.kill(stopped, 'SIGCONT');
      const { code, stdout, stderr } = await rotated;
      t.is(code, 0, stderr);
      t.log(stdout);
      t.deepEqual(
        (await rootsOf(replicas)).map(({ state }) => state),
        ['retired', 'active'],
      );
      await oncePerPort(load, others);
      await assertNoneFailed(t, load);

      const all = startLoad(mesh.ports, PER_SECOND);
      await oncePerPort(all, mesh.ports);
      await assertNoneFailed(t, all);
    } finally {
      process.kill(stopped, 'SIGCONT');
      await load.stop();
      await mesh.stop();
    }
  },
);

test.serial(
  'aborted before its activation, a rotation leaves nothing of itself and fails no handshake',
  async (t) => {
    t.timeout(400_000);
    await using replicas = await startReplicas(2, SERVER);
    const mesh = await startMeshOn(replicas, 4);
    const load = startLoad(mesh.ports, PER_SECOND);
    try {
      t.is((await replicas.cli(0, 'root', 'prepare')).code, 0);
      await until('everyone has acknowledged the new root', async () => {
        const rotation = await rotationOf(replicas);
        return rotation?.phase === 'waiting for acknowledgements' && rotation.laggard_count === 0;
      });
      t.is((await replicas.cli(1, 'root', 'abort')).code, 0);
      await until('it is over', async () => (await rotationOf(replicas)) === undefined);
      const [oldRoot, newRoot] = await rootsOf(replicas);
      t.deepEqual([oldRoot?.state, newRoot?.state], ['active', 'retired']);
      t.is((await replicas.cli(1, 'root', 'abort')).code, 1);
      await oncePerPort(load, mesh.ports);
      await assertNoneFailed(t, load);
    } finally {
      await load.stop();
      await mesh.stop();
    }
  },
);

test.serial('proxies that are killed while they are waited for hold a rotation no longer', async (t) => {
  t.timeout(400_000);
  await using replicas = await startReplicas(2, SERVER);
  await registerProxies(replicas);
  await using silent = await startSdsProxy(socketOf(replicas, 1), 'silent', 'nothing');
  const mesh = await startMeshOn(replicas, 2);
  const stopped = mesh.envoys[0]?.pid ?? 0;
  try {
    process.kill(stopped, 'SIGSTOP');
    t.is((await replicas.cli(0, 'root', 'prepare')).code, 0);
    await untilWaitingFor(replicas, ['mesh-0', 'silent']);
    const rotated = replicas.cli(0, 'root', 'rotate');
    process.kill(stopped, 'SIGKILL');
    await untilWaitingFor(replicas, ['silent']);
    await silent.kill();
    const { code, stderr } = await rotated;
    t.is(code, 0, stderr);
    t.deepEqual(
      (await rootsOf(replicas)).map(({ state }) => state),
      ['retired', 'active'],
    );
  } finally {
    await mesh.stop();
  }
});

function registerProxies(replicas: Replicas): Promise<unknown> {
  const entry = { id: 'proxy', spiffe_id: '/proxy', selectors: SDS_PROXY_SELECTORS };
  return replicas.call(0, 'POST', '/v1/entries', entry);
}

function socketOf({ servers }: Replicas, index: number): string {
  return servers[index]?.agentSocket ?? '';
}

async function rotationOf(replicas: Replicas): Promise<RotationBody | undefined> {
  const { items } = (await replicas.call(0, 'GET', '/v1/rotations')) as { items: RotationBody[] };
  return items[0];
}

async function laggardsOf(replicas: Replicas): Promise<RotationBody['laggards']> {
  return (await rotationOf(replicas))?.laggards ?? [];
}

/** As `carnet root status --json` has it. */
async function statusOf(replicas: Replicas, index: number): Promise<RotationBody['laggards']> {
  const { stdout } = await replicas.cli(index, 'root', 'status', '--json');
  const { rotations } = JSON.parse(stdout) as { rotations: RotationBody[] };
  return rotations[0]?.laggards ?? [];
}

/** Until the new root is published and just these have not acknowledged it. */
async function untilWaitingFor(replicas: Replicas, names: readonly string[]): Promise<void> {
  await until(`${names} alone are waited for`, async () => {
    return String(namesOf(await laggardsOf(replicas))) === String(names);
  });
}

function namesOf(laggards: RotationBody['laggards']): string[] {
  return laggards.flatMap(({ names }) => names).sort();
}
