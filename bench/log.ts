import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type SequenceOptions, sequence } from '../src/audit/sequence.ts';
import { SEQUENCER_PAUSE_MS, Sequencer } from '../src/audit/sequencer.ts';
import { insertIssuances } from '../src/db/issuances.ts';
import { PostgresLog } from '../src/db/log.ts';
import { startCpuMeter } from './support/cpu.ts';
import { type BenchDatabase, startBenchDatabase } from './support/database.ts';
import { benchIssuance, recordIssuances, sequenceOptions, sequenceRecorded } from './support/recorded-log.ts';
import { formatTable, machine, percentile } from './support/table.ts';

const BATCH = 50;
const TURN = 2_000;

/**
 * `npm run bench -- log [--entries N] [--rate R] [--seconds S]`: what sequencing costs an entry, and how long a
 * record waits for a checkpoint that covers it at R issuances a second.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      entries: { type: 'string', default: '100000' },
      rate: { type: 'string', default: '1000' },
      seconds: { type: 'string', default: '20' },
    },
  });
  await using bench = await startBenchDatabase();
  const options = sequenceOptions(new PostgresLog(bench.database));
  await recordIssuances(bench.database, Number(values.entries));
  const sequenced = await measure(bench, () => sequenceRecorded(options, TURN));
  const waits = await measureWaiting(bench, options, Number(values.rate), Number(values.seconds));
  process.stdout.write(`${machine()}\n`);
  process.stdout.write(
    formatTable(['', 'a second', 'Node µs each', 'PostgreSQL µs each'], [['sequenced', ...sequenced]]),
  );
  const times = [0.5, 0.99, 1].map((share) => Math.round(percentile(waits, share)));
  process.stdout.write(
    formatTable(
      ['from record to checkpoint', 'p50 ms', 'p99 ms', 'longest ms'],
      [[`${values.rate} a second, ${waits.length} of them`, ...times]],
    ),
  );
}

/** How many a second, and what each cost. */
async function measure(bench: BenchDatabase, work: () => Promise<number>): Promise<number[]> {
  const used = startCpuMeter(() => bench.postgresCpuMicros());
  const begin = performance.now();
  const count = await work();
  const { nodeMicros, postgresMicros } = used();
  return [
    Math.round((count / (performance.now() - begin)) * 1000),
    nodeMicros / count,
    postgresMicros / count,
  ];
}

/** From each batch's commit to the end of the turn whose checkpoint covers it, in milliseconds. */
async function measureWaiting(
  bench: BenchDatabase,
  options: SequenceOptions,
  rate: number,
  seconds: number,
): Promise<number[]> {
  const head = await bench.database.query<{ size: string }>('SELECT max(size) AS size FROM log_checkpoint');
  const begun = Number(head[0]?.size ?? 0);
  const committedAt: number[] = [];
  const waits: number[] = [];
  const sequencer = new Sequencer({
    sequence: (seen, limit) => sequence(options, seen, limit),
    onTurn: ({ head }) => {
      const covered = ((head?.size ?? begun) - begun) / BATCH;
      while (waits.length < covered) waits.push(performance.now() - (committedAt[waits.length] ?? 0));
    },
    onFailed: (error) => {
      throw error;
    },
    pauseMs: SEQUENCER_PAUSE_MS,
  });
  const start = performance.now();
  for (let batch = 0; batch * BATCH < rate * seconds; batch++) {
    await sleep(Math.max(0, start + (batch * BATCH * 1000) / rate - performance.now()));
    await insertIssuances(bench.database, Array.from({ length: BATCH }, benchIssuance));
    committedAt.push(performance.now());
  }
  while (waits.length < committedAt.length) await sleep(SEQUENCER_PAUSE_MS);
  await sequencer[Symbol.asyncDispose]();
  return waits;
}
