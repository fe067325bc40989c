import { readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { PostgresLog } from '../src/db/log.ts';
import { endOf, spawnCarnet, startCarnet } from '../test/support/carnet.ts';
import { processCpuMicros } from './support/cpu.ts';
import { startBenchDatabase } from './support/database.ts';
import { formatTable, machine } from './support/table.ts';

const BATCH = 100_000;
const SAMPLE_MS = 100;
const MIB = 2 ** 20;
const EXPORTS: Readonly<Record<string, readonly string[]>> = {
  ndjson: ['--format', 'ndjson'],
  csv: ['--format', 'csv'],
  full: ['--format', 'ndjson', '--full'],
};

/**
 * `npm run bench -- export [--entries N] [--of ndjson,csv,full]`: how fast `carnet audit export` writes all of a log of N
 * entries, and what memory the server and the command have at their most: it must not follow N.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      entries: { type: 'string', default: '200000' },
      of: { type: 'string', default: Object.keys(EXPORTS).join(',') },
    },
  });
  const entries = Number(values.entries);
  const kinds = values.of.split(',').map((name) => [name, optionsOf(name)] as const);
  await using bench = await startBenchDatabase();
  for (let done = 0; done < entries; done += BATCH) {
    process.stderr.write(`${done} of ${entries} recorded\n`);
    await bench.database.query(RECORD, [done, Math.min(BATCH, entries - done)]);
  }
  await using server = await startCarnet(['--no-agent', '--database-url', bench.url, '--log-level', 'error']);
  await sequenced(new PostgresLog(bench.database), entries);
  const idle = rssMiB(server.pid, 'VmRSS');
  const rows: (string | number)[][] = [];
  for (const [name, options] of kinds) {
    process.stderr.write(`exporting ${name}\n`);
    const file = join(bench.directory, 'export');
    const begun = performance.now();
    const [serverBefore, postgresBefore] = [processCpuMicros(server.pid), bench.postgresCpuMicros()];
    const client = spawnCarnet(['audit', 'export', '--output', file, '--json', ...options], {
      env: { CARNET_SERVER: server.url, CARNET_DATA_DIR: server.dataDir },
    });
    let peak = 0;
    const sampling = setInterval(() => {
      peak = Math.max(peak, rssMiB(client.pid ?? 0, 'VmHWM'));
    }, SAMPLE_MS);
    const { code, stdout, stderr } = await endOf(client);
    clearInterval(sampling);
    if (code !== 0) throw new Error(stderr);
    const seconds = (performance.now() - begun) / 1000;
    const { records } = JSON.parse(stdout) as { records: number };
    const bytes = statSync(file).size;
    const each = (micros: number): number => micros / records;
    rows.push([
      name,
      records / seconds,
      bytes / MIB / seconds,
      each(processCpuMicros(server.pid) - serverBefore),
      each(bench.postgresCpuMicros() - postgresBefore),
      rssMiB(server.pid, 'VmHWM'),
      peak,
    ]);
    for (const path of [file, `${file}.manifest.json`, `${file}.sha256`]) rmSync(path);
  }
  process.stdout.write(`${machine()}\n${entries} issuances; the server had ${Math.round(idle)} MiB before\n`);
  const header = ['', 'a second', 'MiB/s', 'server µs each', 'PostgreSQL µs', 'server MiB', 'command MiB'];
  process.stdout.write(formatTable(header, rows));
}

function optionsOf(name: string): readonly string[] {
  const options = EXPORTS[name];
  if (options === undefined)
    throw new Error(`there is no export ${name}: ${Object.keys(EXPORTS).join(', ')}`);
  return options;
}

async function sequenced(log: PostgresLog, entries: number): Promise<void> {
  for (let size = 0; size < entries; size = (await log.head())?.size ?? 0) {
    process.stderr.write(`${size} of ${entries} in the log\n`);
    await sleep(1000);
  }
}

/** Of a process, now (VmRSS) or at its most so far (VmHWM); 0 for one that has ended. */
function rssMiB(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

/** Of the size of real ones. */
const RECORD = `
  INSERT INTO issuance (not_before, not_after, serial, profile, identity, dns_names, authority_id, public_key_sha256,
    certificate_sha256, certificate, node, instance, evidence, entry_id, entry_version, requester)
  SELECT now(), now() + interval '1 hour', uuid_send(gen_random_uuid()), 'x509-svid',
    'spiffe://bench.local/ns/' || i % 1000 || '/web', ARRAY['web.internal'], 'issuing-0a1b2c3d', sha256(int8send(i)),
    sha256(int8send(-i)), certificate, 'node-' || i % 100, 'container:' || encode(sha256(int8send(i)), 'hex'),
    '{"uid": 1000, "gid": 1000, "pid": 1, "path": "/usr/local/bin/service"}', 'web', 1, 'agent:node-' || i % 100
  FROM generate_series($1::bigint, $1::bigint + $2::bigint - 1) AS i,
    (SELECT decode(repeat('30820250a1b2c3d4e5f6', 60), 'hex') AS certificate) AS one`;
