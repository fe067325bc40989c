import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { PostgresLog } from '../src/db/log.ts';
import { processCpuMicros, startCpuMeter } from './support/cpu.ts';
import { type BenchDatabase, startBenchDatabase } from './support/database.ts';
import { recordIssuances, sequenceOptions, sequenceRecorded } from './support/recorded-log.ts';
import { formatTable, machine, percentile } from './support/table.ts';

const MAIN = resolve(import.meta.dirname, '../src/main.ts');
const MEMORY_LOOK_MS = 50;

/**
 * `npm run bench -- verify [--entries N] [--added N] [--per-checkpoint N] [--runs N]`: how fast `carnet audit verify` is
 * over all entries, and over those that were added since its last run; what it takes of CPU and of memory. The command
 * as a person runs it, with its start.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      entries: { type: 'string', default: '1000000' },
      added: { type: 'string', default: '10000' },
      'per-checkpoint': { type: 'string', default: '500' },
      runs: { type: 'string', default: '3' },
    },
  });
  const [entries, added, perCheckpoint, runs] = [
    Number(values.entries),
    Number(values.added),
    Number(values['per-checkpoint']),
    Number(values.runs),
  ];
  await using bench = await startBenchDatabase();
  const state = join(bench.directory, 'state');
  const options = sequenceOptions(new PostgresLog(bench.database));
  await recordIssuances(bench.database, entries);
  await sequenceRecorded(options, perCheckpoint);
  const all = [];
  for (let i = 0; i < runs; i++) all.push(await measureVerify(bench, ['--state', state, '--full']));
  await recordIssuances(bench.database, added);
  await sequenceRecorded(options, perCheckpoint);
  const since = await measureVerify(bench, ['--state', state]);
  process.stdout.write(`${machine()}\n`);
  process.stdout.write(
    formatTable(
      [
        'entries',
        'checkpoints',
        's',
        'a second',
        'Node µs each',
        'PostgreSQL µs each',
        'Node MiB at most',
        'CPUs for others',
      ],
      [...all, since].map((one) => [
        one.entries,
        one.checkpoints,
        one.seconds,
        Math.round(one.entries / one.seconds),
        one.nodeMicros / one.entries,
        one.postgresMicros / one.entries,
        Math.round(one.memory / 1024),
        one.othersCpus,
      ]),
    ),
  );
  const rates = all.map((one) => one.entries / one.seconds);
  process.stdout.write(`median of all entries: ${Math.round(percentile(rates, 0.5))} a second\n`);
}

async function measureVerify(bench: BenchDatabase, args: readonly string[]) {
  const used = startCpuMeter(() => bench.postgresCpuMicros());
  const begin = performance.now();
  const child = spawn(
    process.execPath,
    [MAIN, 'audit', 'verify', '--database-url', bench.url, '--json', ...args],
    {
      stdio: ['ignore', 'pipe', 'ignore'],
    },
  );
  let [memory, nodeMicros] = [0, 0];
  const look = setInterval(() => {
    memory = Math.max(memory, peakKiB(child.pid ?? 0));
    nodeMicros = Math.max(nodeMicros, processCpuMicros(child.pid ?? 0));
  }, MEMORY_LOOK_MS);
  let stdout = '';
  for await (const text of child.stdout.setEncoding('utf8')) stdout += text;
  clearInterval(look);
  const { postgresMicros, othersCpus } = used();
  const outcome = JSON.parse(stdout) as {
    ok: boolean;
    size: number;
    verified_before: number;
    checkpoints: number;
  };
  if (!outcome.ok) throw new Error(`the log does not hold: ${stdout}`);
  const seconds = (performance.now() - begin) / 1000;
  return {
    entries: outcome.size - outcome.verified_before,
    checkpoints: outcome.checkpoints,
    seconds,
    memory,
    nodeMicros,
    postgresMicros,
    // What the meter takes for others' is the command's as well.
    othersCpus: Math.max(0, othersCpus - nodeMicros / 1e6 / seconds),
  };
}

/** The most that a process had in memory so far; 0 for one that has ended. */
function peakKiB(pid: number): number {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
