import { setTimeout as pause } from 'node:timers/promises';
import test from 'ava';
import { type CarnetProcess, postgresPid, startCarnet } from '../support/carnet.ts';
import { type LoadStats, startLoad } from '../support/load.ts';
import { type Pair, startPair } from '../support/pair.ts';
import { until } from '../support/until.ts';

const LEAF_SECONDS = 10;
const PER_SECOND = 60;

for (const apiType of ['GRPC', 'DELTA_GRPC'] as const)
  test.serial(
    `60 s of new mTLS connections over ten-second leaves fail none, each serial on record (${apiType})`,
    async (t) => {
      t.timeout(400_000);
      await using carnet = await startCarnet(['--leaf-ttl', `${LEAF_SECONDS}s`, '--log-level', 'warn']);
      const pair = await startPairOf(carnet, apiType);
      try {
        const load = startLoad(pair.port, PER_SECOND);
        const unrecorded = await watchRecords(carnet, load.stats, 60_000);
        // A slow machine takes longer for as many.
        await until('enough has been seen', () => {
          const { handshakes, failures, clientSerials, serverSerials } = load.stats;
          return (
            failures > 0 || (handshakes >= 50 * 60 && clientSerials.size >= 8 && serverSerials.size >= 8)
          );
        });
        await load.stop();
        report(t, load.stats);
        t.deepEqual(load.stats.errors, []);
        t.is(load.stats.failures, 0);
        t.deepEqual(unrecorded, []);
      } finally {
        await pair.stop();
      }
    },
  );

test.serial(
  'kill -9 of Postgres, then of the server, under traffic: no handshake fails, and all that was seen is on record',
  async (t) => {
    t.timeout(400_000);
    await using carnet = await startCarnet(['--leaf-ttl', '40s', '--log-level', 'error']);
    const pair = await startPairOf(carnet, 'GRPC');
    try {
      const load = startLoad(pair.port, PER_SECOND);
      const { clientSerials, serverSerials } = load.stats;
      const newSerials = async (): Promise<void> => {
        const [ofClient, ofServer] = [clientSerials.size, serverSerials.size];
        await until(
          'both present new leaves',
          () => clientSerials.size > ofClient && serverSerials.size > ofServer,
        );
      };
      await newSerials();
      process.kill(await until('Postgres runs', () => postgresPid(carnet.dataDir)), 'SIGKILL');
      await newSerials();
      await carnet.kill();
      await pause(3_000);
      await carnet.restart();
      await newSerials();
      await load.stop();
      report(t, load.stats);
      t.deepEqual(load.stats.errors, []);
      t.is(load.stats.failures, 0);
      const serials = [...clientSerials, ...serverSerials];
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
