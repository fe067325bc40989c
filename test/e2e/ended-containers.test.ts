import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, rmdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import test from 'ava';
import type { RotationBody } from '../../src/api/rotations.ts';
import { type CarnetProcess, endOf, startCarnet } from '../support/carnet.ts';
import { writableHierarchies } from '../support/cgroups.ts';
import { until } from '../support/until.ts';

const MAIN = resolve(import.meta.dirname, '../../src/main.ts');
/** Into the cgroup, and then what follows. */
const ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"';

test('a rotation waits for a container while it runs, and not for one that ended, with an agent or without', async (t) => {
  t.timeout(300_000);
  const [hierarchy] = writableHierarchies();
  if (hierarchy === undefined) {
    t.log('no cgroup can be made here: test/attestation/running-containers.test.ts says what holds without');
    return t.pass();
  }
  await using carnet = await startCarnet(['--leaf-ttl', '1h', '--rotation-hold', '1s']);
  const [job, killed, running] = ['a', 'b', 'c'].map((digit) => new Container(hierarchy, digit));
  if (job === undefined || killed === undefined || running === undefined) return t.fail();
  t.teardown(() => Promise.all([job, killed, running].map((one) => one.remove())));
  for (const { id } of [job, killed, running])
    await carnet.call('POST', '/v1/entries', { spiffe_id: `/${id[0]}`, selectors: [`container:id:${id}`] });
  for (const container of [killed, running]) await container.run('sleep', '600');
  for (const container of [job, killed, running]) await container.fetch(carnet);

  await carnet.kill();
  await killed.end();
  await carnet.restart();
  const rotated = carnet.cli('root', 'rotate', '--reason', 'test');
  const laggards = await until('one is waited for', async () => {
    const rotation = await rotationOf(carnet);
    const waits = rotation?.phase === 'waiting for acknowledgements' && rotation.laggard_count === 1;
    return waits ? rotation.laggards : null;
  });
  t.deepEqual(
    laggards.map(({ instance }) => instance),
    [`container:${running.id}`],
  );
  await running.end();
  const { code, stderr } = await rotated;
  t.is(code, 0, stderr);
});

async function rotationOf(carnet: CarnetProcess): Promise<RotationBody | undefined> {
  const { items } = (await carnet.call('GET', '/v1/rotations')) as { items: RotationBody[] };
  return items.find(({ kind }) => kind === 'root');
}

/** What a container is to the kernel: a cgroup that a runtime has named after it. */
class Container {
  readonly id: string;
  readonly #cgroup: string;
  readonly #processes: ChildProcess[] = [];

  constructor(hierarchy: string, digit: string) {
    this.id = `${process.pid}`.padStart(64, digit);
    this.#cgroup = join(hierarchy, `docker-${this.id}.scope`);
    mkdirSync(this.#cgroup);
  }

  async run(...command: string[]): Promise<ChildProcess> {
    const child = spawn('/bin/sh', ['-c', ENTER, this.#cgroup, ...command], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#processes.push(child);
    await once(child, 'spawn');
    return child;
  }

  /** Gets its certificate. */
  async fetch({ agentSocket }: CarnetProcess): Promise<void> {
    const child = await this.run(process.execPath, MAIN, 'fetch', '--agent-socket', agentSocket, '--json');
    const { code, stderr } = await endOf(child);
    if (code !== 0) throw new Error(stderr);
  }

  async end(): Promise<void> {
    for (const child of this.#processes.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    }
  }

  async remove(): Promise<void> {
    await this.end();
    rmdirSync(this.#cgroup);
  }
}
