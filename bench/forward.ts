import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { type SequenceOptions, sequence } from '../src/audit/sequence.ts';
import { SEQUENCER_PAUSE_MS, Sequencer } from '../src/audit/sequencer.ts';
import { parseKeyEncryptionKey } from '../src/ca/key-encryption-key.ts';
import { sealedKeyStore } from '../src/ca/sealed-key-store.ts';
import { systemClock } from '../src/clock.ts';
import { PostgresForwardStore } from '../src/db/forward-sinks.ts';
import { insertIssuances } from '../src/db/issuances.ts';
import { PostgresLog } from '../src/db/log.ts';
import { Forwarder } from '../src/forward/forwarder.ts';
import type { Sink } from '../src/forward/sink.ts';
import { createSyslog } from '../src/forward/syslog.ts';
import { createWebhook } from '../src/forward/webhook.ts';
import { startCpuMeter } from './support/cpu.ts';
import { type BenchDatabase, startBenchDatabase } from './support/database.ts';
import { type Receivers, startReceivers } from './support/forward-receivers.ts';
import { benchIssuance } from './support/recorded-log.ts';
import { formatTable, machine, median, percentile } from './support/table.ts';

const BATCH = 50;
const TURN = 2_000;
/** In turn, so that whatever else the machine does is shared. */
const ROUNDS = 3;
const LOG = 'bench.local/log';

/**
 * `npm run bench -- forward [--entries N] [--rate R] [--seconds S]`: how fast a log is forwarded to each kind of sink,
 * over TLS on this machine, what an entry costs, and what those who record at R a second notice of it, when the sinks
 * take what comes and when they hang; medians of three rounds of S seconds.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      entries: { type: 'string', default: '50000' },
      rate: { type: 'string', default: '1000' },
      seconds: { type: 'string', default: '10' },
    },
  });
  await using receivers = await startReceivers();
  await using bench = await startBenchDatabase();
  const { webhook, syslog, hungWebhook, hungSyslog } = receivers.ports;
  const sinks = [webhookTo(receivers, webhook), syslogTo(receivers, syslog)];
  const hung = [webhookTo(receivers, hungWebhook), syslogTo(receivers, hungSyslog)];
  await record(bench, Number(values.entries));
  while (!(await sequence(optionsOf(bench), null, TURN))?.whole);
  const caughtUp: (readonly (string | number)[])[] = [];
  for (const sink of sinks) caughtUp.push([sink.name, ...(await measureCatchingUp(bench, sink))]);
  const load = { rate: Number(values.rate), seconds: Number(values.seconds) };
  const conditions = [
    ['without', []],
    ['forwarding to both', sinks],
    ['both hang', hung],
  ] as const;
  const measured = conditions.map((): number[][] => []);
  for (let round = 0; round < ROUNDS; round++)
    for (const [i, [, to]] of conditions.entries())
      measured[i]?.push(await measureRecording(bench, to, sinks, load));
  const noticed = conditions.map(([name], i) => [name, ...mediansOf(measured[i] ?? [])]);
  process.stdout.write(`${machine()}\n`);
  process.stdout.write(
    formatTable(['forwarded to', 'a second', 'Node µs each', 'PostgreSQL µs each'], caughtUp),
  );
  process.stdout.write(
    formatTable(
      [
        `recording ${load.rate} a second`,
        'commit p50 ms',
        'commit p99 ms',
        'acknowledged p50 ms',
        'p99 ms',
        'Node µs each',
      ],
      noticed,
    ),
  );
}

/** How many a second, and what each cost: of a log that is there already. */
async function measureCatchingUp(bench: BenchDatabase, sink: Sink): Promise<number[]> {
  const store = new PostgresForwardStore(bench.database);
  await store.create(sink, 'start');
  const used = startCpuMeter(() => bench.postgresCpuMicros());
  const begin = performance.now();
  const forwarder = forward(store, sink, () => undefined);
  const count = await untilForwarded(store, sink);
  const milliseconds = performance.now() - begin;
  const { nodeMicros, postgresMicros } = used();
  await forwarder[Symbol.asyncDispose]();
  return [Math.round((count / milliseconds) * 1000), nodeMicros / count, postgresMicros / count];
}

/**
 * Of batches that are recorded at a rate: the commits, and how long until the slower of the sinks has acknowledged each.
 * `all` get first what they have not got yet.
 */
async function measureRecording(
  bench: BenchDatabase,
  sinks: readonly Sink[],
  all: readonly Sink[],
  { rate, seconds }: { readonly rate: number; readonly seconds: number },
): Promise<number[]> {
  const store = new PostgresForwardStore(bench.database);
  for (const sink of all) {
    await using _forwarder = forward(store, sink, () => undefined);
    await untilForwarded(store, sink);
  }
  const commits: number[] = [];
  const committedAt: number[] = [];
  const acknowledged = sinks.map(() => 0);
  const waits: number[] = [];
  const note = (sink: number, entries: number): void => {
    acknowledged[sink] = (acknowledged[sink] ?? 0) + entries;
    while ((waits.length + 1) * BATCH <= Math.min(...acknowledged))
      waits.push(performance.now() - (committedAt[waits.length] ?? 0));
  };
  const used = startCpuMeter(() => 0);
  const sequencer = new Sequencer({
    sequence: (seen, limit) => sequence(optionsOf(bench), seen, limit),
    onTurn: () => undefined,
    onFailed: (error) => {
      throw error;
    },
    pauseMs: SEQUENCER_PAUSE_MS,
  });
  const forwarders = sinks.map((sink, i) => forward(store, sink, (entries) => note(i, entries)));
  const start = performance.now();
  for (let batch = 0; batch * BATCH < rate * seconds; batch++) {
    await sleep(Math.max(0, start + (batch * BATCH * 1000) / rate - performance.now()));
    const begun = performance.now();
    await insertIssuances(bench.database, Array.from({ length: BATCH }, benchIssuance));
    commits.push(performance.now() - begun);
    committedAt.push(performance.now());
  }
  const { nodeMicros } = used();
  await sleep(3 * SEQUENCER_PAUSE_MS);
  for (const forwarder of forwarders) await forwarder[Symbol.asyncDispose]();
  await sequencer[Symbol.asyncDispose]();
  const times = [commits, waits].flatMap((all) => [percentile(all, 0.5), percentile(all, 0.99)]);
  return [...times, nodeMicros / (commits.length * BATCH)];
}

function mediansOf(rounds: readonly (readonly number[])[]): number[] {
  return (rounds[0] ?? []).map((_, column) => median(rounds.map((round) => round[column] ?? Number.NaN)));
}

function forward(
  store: PostgresForwardStore,
  sink: Sink,
  onAcknowledged: (entries: number) => void,
): Forwarder {
  return new Forwarder({ sink, store, onAcknowledged, onFailed: () => undefined, random: Math.random });
}

async function untilForwarded(store: PostgresForwardStore, { name }: Sink): Promise<number> {
  for (;;) {
    const state = (await store.list()).find((sink) => sink.name === name);
    if (state?.lagEntries === 0) return state.position;
    await sleep(20);
  }
}

function webhookTo({ trust }: Receivers, port: number): Sink {
  const url = new URL(`https://127.0.0.1:${port}/`);
  return createWebhook({ url, secretFile: trust.secretFile, tls: trust.tls, log: LOG, clock: systemClock });
}

function syslogTo({ trust }: Receivers, port: number): Sink {
  const origin = { host: 'bench', pid: process.pid, log: LOG };
  return createSyslog({ host: '127.0.0.1', port, tls: trust.tls, origin });
}

const keys = sealedKeyStore(parseKeyEncryptionKey(randomBytes(32).toString('hex')));

function optionsOf({ database }: BenchDatabase): SequenceOptions {
  return { store: new PostgresLog(database), newKeys: keys, open: (key) => keys.open(key), origin: LOG };
}

async function record({ database }: BenchDatabase, count: number): Promise<void> {
  for (let done = 0; done < count; done += 500)
    await insertIssuances(database, Array.from({ length: Math.min(500, count - done) }, benchIssuance));
}
