import { randomBytes } from 'node:crypto';
import { parseArgs } from 'node:util';
import type { Issuance } from '../src/audit/issuance.ts';
import { BatchRecorder, RECORDER_LIMITS } from '../src/audit/record.ts';
import { insertIssuances } from '../src/db/issuances.ts';
import { type BenchDatabase, startBenchDatabase } from './support/database.ts';
import { load, type Measured } from './support/load.ts';
import { formatTable, machine } from './support/table.ts';

const BATCHES = [1, 8, 32, 64, 128, 256, 512];
const ROWS = 4096;
/** By what searches need them for; dropped one after the other. */
const SEARCH_INDEXES: readonly (readonly [name: string, indexes: readonly string[]])[] = [
  ['by requester, profile and validity', ['profile', 'requester', 'long', 'unusual']],
  ['by fingerprint', ['certificate_sha256', 'public_key_sha256']],
  ['for searches at all', ['serial', 'identity', 'instance', 'node', 'entry', 'authority']],
];

/**
 * `npm run bench -- record [--seconds S]`: what recording one issuance costs Node and PostgreSQL, by how many share
 * a commit; and what of it are the indexes that searches need.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({ args, options: { seconds: { type: 'string', default: '3' } } });
  const seconds = Number(values.seconds);
  await using bench = await startBenchDatabase();
  const results: (string | number)[][] = [];
  for (const maxBatch of BATCHES)
    results.push(row(String(maxBatch), await measure(bench, maxBatch, seconds)));
  for (const [name, indexes] of SEARCH_INDEXES) {
    for (const index of indexes) await bench.database.query(`DROP INDEX issuance_${index}`);
    const without = await measure(bench, RECORDER_LIMITS.maxBatch, seconds);
    results.push(row(`${RECORDER_LIMITS.maxBatch}, without the indexes ${name}`, without));
  }
  process.stdout.write(`${machine()}\n`);
  const header = ['at most in one commit', 'recorded/s', 'Node µs each', 'PostgreSQL µs each', 'p99 ms'];
  process.stdout.write(formatTable(header, results));
}

function row(name: string, { perSecond, nodeMicros, postgresMicros, p99Ms }: Measured): (string | number)[] {
  return [name, perSecond, nodeMicros, postgresMicros, p99Ms];
}

async function measure(bench: BenchDatabase, maxBatch: number, seconds: number): Promise<Measured> {
  const recorder = new BatchRecorder(
    (batch) => insertIssuances(bench.database, batch),
    { ...RECORDER_LIMITS, maxBatch },
    () => performance.now(),
  );
  const rows = Array.from({ length: ROWS }, (_, number) => issuanceOf(number));
  const record = (number: number): Promise<void> => recorder.record(rows[number % ROWS] as Issuance);
  // One batch is being committed while the next one gathers.
  const options = { concurrency: 2 * maxBatch, postgresCpuMicros: bench.postgresCpuMicros };
  await load(record, { ...options, seconds: seconds / 3 });
  const measured = await load(record, { ...options, seconds });
  await recorder.close();
  return measured;
}

/** A leaf of one of 1,000 services on one of 200 nodes. */
function issuanceOf(number: number): Issuance {
  const service = number % 1000;
  const node = `node-${number % 200}`;
  return {
    serial: randomBytes(16).toString('hex'),
    profile: 'workload',
    identity: `spiffe://carnet.local/ns/default/service-${service}`,
    dnsNames: [`service-${service}.internal`],
    notBefore: new Date(1_772_323_200_000),
    notAfter: new Date(1_772_326_800_000),
    authority: 'issuing-0a1b2c3d',
    publicKeySha256: randomBytes(32),
    certificateSha256: randomBytes(32),
    certificate: randomBytes(600),
    node,
    instance: `container:${randomBytes(32).toString('hex')}`,
    evidence: {
      uid: 1000,
      gid: 1000,
      pid: number,
      path: '/usr/local/bin/service',
      sha256: randomBytes(32).toString('hex'),
    },
    entryId: `service-${service}`,
    entryVersion: 1,
    requester: `agent:${node}`,
  };
}
