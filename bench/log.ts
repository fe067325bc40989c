import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import type { Issuance } from '../src/audit/issuance.ts';
import { verifierOf } from '../src/audit/log-key.ts';
import type { LogStore } from '../src/audit/log-store.ts';
import { type SequenceOptions, sequence } from '../src/audit/sequence.ts';
import { SEQUENCER_PAUSE_MS, Sequencer } from '../src/audit/sequencer.ts';
import { verifyLog } from '../src/audit/verify-log.ts';
import { parseKeyEncryptionKey } from '../src/ca/key-encryption-key.ts';
import { sealedKeyStore } from '../src/ca/sealed-key-store.ts';
import { Database } from '../src/db/database.ts';
import { insertIssuances } from '../src/db/issuances.ts';
import { PostgresLog } from '../src/db/log.ts';
import { PostgresLogSource } from '../src/db/log-source.ts';
import { createLogger } from '../src/log.ts';
import { startCpuMeter } from './support/cpu.ts';
import { type BenchDatabase, startBenchDatabase } from './support/database.ts';
import { formatTable, machine, percentile } from './support/table.ts';

const BATCH = 50;
const TURN = 2_000;

/**
 * `npm run bench -- log [--entries N] [--rate R] [--seconds S]`: what sequencing costs an entry, how fast a log is
 * verified, and how long a record waits for a checkpoint that covers it at R issuances a second.
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
  const log = new PostgresLog(bench.database);
  const options = optionsOf(log);
  await record(bench.database, Number(values.entries));
  const sequenced = await measureSequencing(bench, options);
  const verified = await measureVerifying(bench, log);
  const waits = await measureWaiting(bench, options, Number(values.rate), Number(values.seconds));
  process.stdout.write(`${machine()}\n`);
  process.stdout.write(
    formatTable(
      ['', 'a second', 'Node µs each', 'PostgreSQL µs each'],
      [
        ['sequenced', ...sequenced],
        ['verified', ...verified],
      ],
    ),
  );
  const times = [0.5, 0.99, 1].map((share) => Math.round(percentile(waits, share)));
  process.stdout.write(
    formatTable(
      ['from record to checkpoint', 'p50 ms', 'p99 ms', 'longest ms'],
      [[`${values.rate} a second, ${waits.length} of them`, ...times]],
    ),
  );
}

function optionsOf(store: LogStore): SequenceOptions {
  const keys = sealedKeyStore(parseKeyEncryptionKey(randomBytes(32).toString('hex')));
  return { store, newKeys: keys, open: (key) => keys.open(key), origin: 'bench.local/log' };
}

async function record(database: Database, count: number): Promise<void> {
  for (let done = 0; done < count; done += 500)
    await insertIssuances(database, Array.from({ length: Math.min(500, count - done) }, issuanceOf));
}

async function measureSequencing(bench: BenchDatabase, options: SequenceOptions): Promise<number[]> {
  return measure(bench, async () => {
    let [added, whole] = [0, false];
    while (!whole) {
      const turn = await sequence(options, null, TURN);
      added += turn?.added ?? 0;
      whole = turn?.whole ?? false;
    }
    return added;
  });
}

async function measureVerifying(bench: BenchDatabase, log: PostgresLog): Promise<number[]> {
  const stored = await log.key();
  if (stored === null) throw new Error('the log has not begun');
  const database = new Database({
    url: bench.url,
    name: 'verify',
    maxConnections: 5,
    log: createLogger('warn'),
  });
  try {
    return await measure(bench, async () => {
      const source = new PostgresLogSource(database);
      const options = { source, key: verifierOf(stored), kept: [], since: null, onProgress: () => undefined };
      const { head, fault } = await verifyLog(options);
      if (fault !== null || head === null) throw new Error(`the log does not hold: ${fault}`);
      return head.size;
    });
  } finally {
    await database.close();
  }
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
    await insertIssuances(bench.database, Array.from({ length: BATCH }, issuanceOf));
    committedAt.push(performance.now());
  }
  while (waits.length < committedAt.length) await sleep(SEQUENCER_PAUSE_MS);
  await sequencer[Symbol.asyncDispose]();
  return waits;
}

function issuanceOf(): Issuance {
  return {
    serial: randomBytes(16).toString('hex'),
    profile: 'x509-svid',
    identity: 'spiffe://bench.local/ns/default/web',
    dnsNames: ['web.internal'],
    notBefore: new Date(1_772_323_200_000),
    notAfter: new Date(1_772_326_800_000),
    authority: 'issuing-0a1b2c3d',
    publicKeySha256: randomBytes(32),
    certificateSha256: randomBytes(32),
    certificate: randomBytes(600),
    node: 'node-1',
    instance: `container:${randomBytes(32).toString('hex')}`,
    evidence: { uid: 1000, gid: 1000, pid: 1, path: '/usr/local/bin/service' },
    entryId: 'web',
    entryVersion: 1,
    requester: 'agent:node-1',
  };
}
