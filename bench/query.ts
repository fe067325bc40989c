import { parseArgs } from 'node:util';
import type { IssuanceFilter } from '../src/audit/query.ts';
import type { Database } from '../src/db/database.ts';
import { PostgresIssuanceQuery, searchStatement } from '../src/db/issuance-query.ts';
import { startBenchDatabase } from './support/database.ts';
import { formatTable, machine, percentile } from './support/table.ts';

const MONTHS = 12;
const LOAD_STATEMENT_ROWS = 50_000;
const PAGE = 100;
const WARM_UPS = 20;
const RUNS_A_PLAN = 10;
const AIM_P99_MS = 20;

interface Case {
  readonly name: string;
  /** With values that occur, another each time. */
  readonly filter: () => Promise<IssuanceFilter>;
  readonly deep?: true;
}

/**
 * `npm run bench -- query [--rows N] [--runs N]`: how long `GET /v1/issuances` takes in the database
 * and its client, for each filter, over a year of issuances in monthly partitions, and with which plan.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: { rows: { type: 'string', default: '1000000' }, runs: { type: 'string', default: '500' } },
  });
  await using bench = await startBenchDatabase();
  process.stdout.write(`${machine()}\n`);
  process.stdout.write(`${await load(bench.database, Number(values.rows))}\n\n`);
  process.stdout.write(await measureAll(bench.database, Number(values.runs)));
}

/** In the order of time, as they come: 5,000 identities of unequal use, 1,000 nodes, a new issuing CA each week. */
async function load(database: Database, rows: number): Promise<string> {
  const begin = performance.now();
  for (let month = 0; month < MONTHS; month++) await database.query(createPartition(month));
  for (let from = 0; from < rows; from += LOAD_STATEMENT_ROWS)
    await database.query(INSERT_ROWS, [from, Math.min(from + LOAD_STATEMENT_ROWS, rows) - 1, rows]);
  await database.query('VACUUM ANALYZE issuance');
  const [size] = await database.query<{ tables: string; indexes: string }>(
    `SELECT pg_size_pretty(sum(pg_table_size(inhrelid))) AS tables, pg_size_pretty(sum(pg_indexes_size(inhrelid))) AS indexes
     FROM pg_inherits WHERE inhparent = 'issuance'::regclass`,
  );
  const seconds = ((performance.now() - begin) / 1000).toFixed(0);
  return `${rows} issuances over ${MONTHS} months, loaded in ${seconds} s: tables ${size?.tables}, indexes ${size?.indexes}`;
}

/** The months that carnet_ensure_partitions, which looks ahead, doesn't make: `month` counts back from the last. */
function createPartition(month: number): string {
  return `DO $$ DECLARE first timestamp := date_trunc('month', now() AT TIME ZONE 'UTC') - interval '${month + 1} months';
    BEGIN EXECUTE format('CREATE TABLE %I PARTITION OF issuance FOR VALUES FROM (%L) TO (%L)',
      'issuance' || to_char(first, '"_"YYYY"_"MM'), first AT TIME ZONE 'UTC',
      (first + interval '1 month') AT TIME ZONE 'UTC'); END $$`;
}

const INSERT_ROWS = `
  INSERT INTO issuance (recorded_at, not_before, not_after, entry_version, serial, profile, identity, dns_names,
    authority_id, public_key_sha256, certificate_sha256, certificate, node, instance, evidence, entry_id, requester)
  SELECT at, at, at + interval '1 hour', 1, decode(md5('serial' || i), 'hex'), 'workload',
    format('spiffe://carnet.local/ns/default/service-%s', service), ARRAY[format('service-%s.internal', service)],
    'issuing-' || to_char(at, 'IYYYIW'), sha256(i::text::bytea), sha256(i::text::bytea),
    decode(repeat(md5(i::text), 38), 'hex'), 'node-' || node, 'container:' || encode(sha256((i % 40000)::text::bytea), 'hex'),
    format('{"uid":1000,"gid":1000,"pid":%s,"path":"/usr/local/bin/service","sha256":"%s","cgroup":"/kubepods/%s"}',
      i, encode(sha256(node::text::bytea), 'hex'), md5(i::text))::json,
    'entry-' || service, 'agent:node-' || node
  FROM (
    SELECT i, now() - interval '1 year' * (1 - i::float8 / $3::integer) AS at,
      floor(5000 * random() ^ 3)::integer AS service, floor(1000 * random())::integer AS node
    FROM generate_series($1::integer, $2::integer) AS i
  ) AS made`;

async function measureAll(database: Database, runs: number): Promise<string> {
  const results: Result[] = [];
  for (const one of cases(database)) results.push(await measure(database, one, runs));
  const worst = Math.max(...results.map(({ p99 }) => p99));
  const scanned = results.filter(({ nodes }) => nodes.includes('Seq Scan')).length;
  if (scanned > 0) process.exitCode = 1;
  return [
    `pages of ${PAGE}: the first, and one from the middle ("deep"); ${runs} runs each\n`,
    formatTable(
      ['filter', 'p50 ms', 'p99 ms'],
      results.map(({ name, p50, p99 }) => [name, p50, p99]),
    ),
    '\nnodes of the plans, each index by its columns\n',
    ...results.map(({ name, nodes }) => `${name}: ${nodes.join(', ')}\n`),
    `worst p99 ${worst.toFixed(1)} ms (aim ${AIM_P99_MS}); filters with a sequential scan: ${scanned} (aim 0)\n`,
  ].join('');
}

interface Result {
  readonly name: string;
  readonly p50: number;
  readonly p99: number;
  /** Kinds of all plans that were looked at, from the outside in. */
  readonly nodes: readonly string[];
}

function cases(database: Database): Case[] {
  const some = async (column: string): Promise<string> => {
    const [row] = await database.query<{ value: string }>(
      `SELECT ${column} AS value FROM issuance WHERE recorded_at >= now() - random() * interval '1 year'
       ORDER BY recorded_at, id LIMIT 1`,
    );
    return row?.value ?? '';
  };
  const single: Case[] = [
    { name: 'none', filter: async () => ({}) },
    { name: 'identity', filter: async () => ({ identity: await some('identity') }) },
    { name: 'instance', filter: async () => ({ instance: await some('instance') }) },
    { name: 'serial', filter: async () => ({ serial: await some("encode(serial, 'hex')") }) },
    { name: 'node', filter: async () => ({ node: await some('node') }) },
    { name: 'entry', filter: async () => ({ entry: await some('entry_id') }) },
    { name: 'authority', filter: async () => ({ authority: await some('authority_id') }) },
    { name: 'from', filter: async () => ({ from: daysAgo(360) }) },
    { name: 'to', filter: async () => ({ to: daysAgo(360) }) },
    { name: 'from and to: an hour', filter: async () => window(1 / 24) },
    { name: 'from and to: a month', filter: async () => window(30) },
    { name: 'a value that is not there', filter: async () => ({ identity: 'spiffe://carnet.local/none' }) },
  ];
  return [
    ...single,
    { name: 'identity, from, to', filter: async () => ({ identity: await some('identity'), ...window(30) }) },
    {
      name: 'node, entry',
      filter: async () => ({ node: await some('node'), entry: await some('entry_id') }),
    },
    ...single
      .filter(({ name }) => name !== 'serial')
      .map((one): Case => ({ ...one, name: `${one.name}, deep`, deep: true })),
  ];
}

async function measure(database: Database, { name, filter, deep }: Case, runs: number): Promise<Result> {
  const query = new PostgresIssuanceQuery(database);
  const times: number[] = [];
  const nodes = new Set<string>();
  const empty = await emptyPartitions(database);
  for (let index = -WARM_UPS; index < runs; index++) {
    const given = await filter();
    const page = { limit: PAGE, cursor: deep ? await middle(query, given) : null };
    const begin = performance.now();
    await query.search(given, page);
    if (index >= 0) times.push(performance.now() - begin);
    if (index % RUNS_A_PLAN === 0)
      for (const node of await planOf(database, empty, given, page)) nodes.add(node);
  }
  return { name, p50: percentile(times, 0.5), p99: percentile(times, 0.99), nodes: [...nodes] };
}

/** Of the months to come, and the net. That they are "scanned" sequentially says nothing: there is nothing to scan. */
async function emptyPartitions(database: Database): Promise<ReadonlySet<string>> {
  const rows = await database.query<{ name: string }>(
    `SELECT inhrelid::regclass::text AS name FROM pg_inherits
     WHERE inhparent = 'issuance'::regclass AND pg_relation_size(inhrelid) = 0`,
  );
  return new Set(rows.map((row) => row.name));
}

/** A cursor some pages on, as one who leafs through has it. */
async function middle(query: PostgresIssuanceQuery, filter: IssuanceFilter): Promise<string | null> {
  const { nextCursor } = await query.search(filter, { limit: 1000, cursor: null });
  if (nextCursor === null) return null;
  return (await query.search(filter, { limit: 1000, cursor: nextCursor })).nextCursor ?? nextCursor;
}

interface Plan {
  readonly 'Node Type': string;
  readonly 'Index Name'?: string;
  readonly 'Relation Name'?: string;
  readonly Plans?: readonly Plan[];
}

async function planOf(
  database: Database,
  empty: ReadonlySet<string>,
  filter: IssuanceFilter,
  page: { limit: number; cursor: string | null },
): Promise<string[]> {
  const { text, values } = searchStatement(filter, page);
  const [row] = await database.query<{ 'QUERY PLAN': [{ Plan: Plan }] }>(
    `EXPLAIN (FORMAT JSON) ${text}`,
    values,
  );
  return row ? nodesOf(row['QUERY PLAN'][0].Plan, empty) : [];
}

function nodesOf(plan: Plan, empty: ReadonlySet<string>): string[] {
  if (empty.has(plan['Relation Name'] ?? '')) return [];
  const kind = `${plan['Node Type']} ${columnsOf(plan['Index Name'])}`.trimEnd();
  return [
    ...(plan['Node Type'] === 'Limit' ? [] : [kind]),
    ...(plan.Plans ?? []).flatMap((inner) => nodesOf(inner, empty)),
  ];
}

/** PostgreSQL names a partition's index after the partition and its columns. */
function columnsOf(index: string | undefined): string {
  return (index ?? '').replace(/^issuance_(?:\d{4}_\d{2}|default)_/, '').replace(/_idx$/, '');
}

function daysAgo(most: number): Date {
  return new Date(Date.now() - Math.random() * most * 86_400_000);
}

function window(days: number): { from: Date; to: Date } {
  const from = daysAgo(360);
  return { from, to: new Date(from.getTime() + days * 86_400_000) };
}
