import test from 'ava';
import { FLEET_REPORT_LIMITS, FleetReport, type FleetStore } from '../../src/delivery/fleet-report.ts';
import type { ConsumerRecord } from '../../src/delivery/member.ts';
import { CarnetError } from '../../src/errors.ts';
import { FleetWorld } from './fleet-world.ts';

const LIMITS = { ...FLEET_REPORT_LIMITS, intervalMs: 5, maxRetryMs: 10 };

test('the first change is stored at once, together with all of its moment', async (t) => {
  const { world, store, report } = start();
  world.hold('s', 'a', 'old').hold('s', 'a', 'new');
  await store.writes(1);
  t.is(store.written.length, 1);
  t.deepEqual(store.written[0]?.authorities, ['new']);
  await report.close();
});

test('one report at a time, and what changes meanwhile goes with the next', async (t) => {
  const { world, store, report } = start();
  const { promise, resolve } = Promise.withResolvers<void>();
  store.answer = () => promise;
  world.hold('s', 'a', 'old');
  await store.tries(1);
  world.hold('s', 'a', 'new').hold('s', 'a', 'newer');
  await new Promise(setImmediate);
  t.is(store.tried, 1);
  resolve();
  await store.writes(2);
  t.deepEqual(
    store.written.map(({ authorities }) => authorities),
    [['old'], ['newer']],
  );
  await report.close();
});

test('a store that is away gets how things are once it is back, not how they were', async (t) => {
  const { world, store, report, failures } = start();
  store.answer = () => Promise.reject(new CarnetError('database_unavailable', 'away'));
  world.hold('s', 'a', 'old');
  await store.tries(3);
  world.hold('s', 'a', 'new');
  store.answer = () => Promise.resolve();
  await store.writes(1);
  t.deepEqual(
    store.written.map(({ authorities }) => authorities),
    [['new']],
  );
  t.deepEqual(failures.slice(0, 3), [1, 2, 3]);
  await report.close();
});

test('closing stores what is left, and does not wait for a store that does not answer', async (t) => {
  const { world, store, report } = start();
  world.hold('s', 'a', 'old');
  await store.writes(1);
  world.close('s');
  await report.close();
  t.is(store.written.at(-1)?.streams, 0);

  const hanging = start({ ...LIMITS, closeMs: 20 });
  hanging.store.answer = () => new Promise(() => undefined);
  hanging.world.open('s');
  await hanging.store.tries(1);
  await t.notThrowsAsync(hanging.report.close());
});

function start(limits = LIMITS) {
  const world = new FleetWorld();
  const store = new TestStore();
  const failures: number[] = [];
  const report = new FleetReport(world.fleet, store, (_error, count) => failures.push(count), limits);
  return { world, store, report, failures };
}

/** A store that answers as it is told. */
class TestStore implements FleetStore {
  readonly written: ConsumerRecord[] = [];
  tried = 0;
  answer: () => Promise<void> = () => Promise.resolve();
  readonly #waiting = new Set<() => void>();

  load() {
    return Promise.resolve({ records: [], unreported: [] });
  }

  async write({ records }: { records: readonly ConsumerRecord[] }): Promise<void> {
    this.tried++;
    this.#tell();
    await this.answer();
    this.written.push(...records);
    this.#tell();
  }

  writes(count: number): Promise<void> {
    return this.#until(() => this.written.length >= count);
  }

  tries(count: number): Promise<void> {
    return this.#until(() => this.tried >= count);
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.add(resolve));
  }

  #tell(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}
