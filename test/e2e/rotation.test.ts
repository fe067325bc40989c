import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { type CarnetProcess, postgresPid, startCarnet } from '../support/carnet.ts';
import { type LoadStats, startLoad } from '../support/load.ts';
import { type Pair, startPair } from '../support/pair.ts';

const LEAF_SECONDS = 10;
const PER_SECOND = 60;

for (const apiType of ['GRPC', 'DELTA_GRPC'] as const)
  test.serial(
    `60 s of new mTLS connections over ten-second leaves fail none, each serial on record (${apiType})`,
    async (t) => {
      t.timeout(180_000);
      await using carnet = await startCarnet(['--leaf-ttl', `${LEAF_SECONDS}s`, '--log-level', 'warn']);
      const pair = await startPairOf(carnet, apiType);
      try {
        const load = startLoad(pair.port, PER_SECOND);
        const unrecorded = await watchRecords(carnet, load.stats, 60_000);
        await load.stop();
        report(t, load.stats);
        t.deepEqual(load.stats.errors, []);
        t.is(load.stats.failures, 0);
        t.true(load.stats.handshakes >= 50 * 60);
        t.true(load.stats.clientSerials.size >= 8);
        t.true(load.stats.serverSerials.size >= 8);
        t.deepEqual(unrecorded, []);
      } finally {
        await pair.stop();
      }
    },
  );

test.serial(
  'kill -9 of Postgres, then of the server, under traffic: no handshake fails, and all that was seen is on record',
  async (t) => {
    t.timeout(180_000);
    await using carnet = await startCarnet(['--leaf-ttl', '20s', '--log-level', 'error']);
    const pair = await startPairOf(carnet, 'GRPC');
    try {
      const load = startLoad(pair.port, PER_SECOND);
      await pause(5_000);
      process.kill(postgresPid(carnet.dataDir) ?? 0, 'SIGKILL');
      await pause(15_000);
      await carnet.kill();
      await pause(3_000);
      await carnet.restart();
      await pause(15_000);
      await load.stop();
      report(t, load.stats);
      t.deepEqual(load.stats.errors, []);
      t.is(load.stats.failures, 0);
      const serials = [...load.stats.clientSerials, ...load.stats.serverSerials];
      t.true(serials.length >= 6, `${serials.length} serials`);
      for (const serial of serials) await t.notThrowsAsync(carnet.call('GET', `/v1/issuances/${serial}`));
    } finally {
      await pair.stop();
    }
  },
);

function startPairOf(carnet: CarnetProcess, apiType: 'GRPC' | 'DELTA_GRPC'): Promise<Pair> {
  return startPair({
    agentSocket: carnet.agentSocket,
    apiType,
    trustDomain: 'carnet.local',
    register: (entry) => carnet.call('POST', '/v1/entries', entry),
  });
}

/** Looks each serial up as soon as it is seen, and names those that were not on record by then. */
async function watchRecords(carnet: CarnetProcess, stats: LoadStats, ms: number): Promise<string[]> {
  const checked = new Set<string>();
  const unrecorded: string[] = [];
  const end = performance.now() + ms;
  while (performance.now() < end) {
    for (const serial of [...stats.clientSerials, ...stats.serverSerials]) {
      if (checked.has(serial)) continue;
      checked.add(serial);
      await carnet.call('GET', `/v1/issuances/${serial}`).catch(() => unrecorded.push(serial));
    }
    await pause(50);
  }
  return unrecorded;
}

function report(t: { log: (...values: unknown[]) => void }, stats: LoadStats): void {
  t.log(
    `${stats.handshakes} handshakes, ${stats.failures} failed; serials: ${stats.clientSerials.size} client, ${stats.serverSerials.size} server`,
  );
}
