import { parseArgs } from 'node:util';
import type { Database, Queryable } from '../src/db/database.ts';
import { startBenchDatabase } from './support/database.ts';
import { FILL_SETTINGS, fillHistory } from './support/history.ts';
import { events, explanations, NOTHING, type Question, searches } from './support/questions.ts';
import { formatTable, machine, percentile } from './support/table.ts';

const WARM_UPS = 10;
const RUNS_A_PLAN = 25;
/** One that sums is asked that much less often. */
const SHARE_OF_SUMS = 0.1;
const AIM_P99_MS = 20;

/**
 * `npm run bench -- query [--rows N] [--runs N] [--only TEXT]`: how long each question of an auditor takes in the database
 * and its client, over two years of issuances in monthly partitions, and by which indexes it is answered. Each is asked
 * twice: what it reads may be on the disk the first time, and is in memory the second, for which the aim is.
 */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      rows: { type: 'string', default: '1000000' },
      runs: { type: 'string', default: '200' },
      only: { type: 'string', default: '' },
    },
  });
  await using bench = await startBenchDatabase(FILL_SETTINGS);
  process.stdout.write(`${machine()}\n`);
  process.stdout.write(`${await fillHistory(bench.database, Number(values.rows))}\n\n`);
  process.stdout.write(await measureAll(bench.database, Number(values.runs), values.only));
}

async function measureAll(database: Database, runs: number, only: string): Promise<string> {
  const all = [NOTHING, ...searches(database), ...events(), ...explanations(database)];
  const questions = all.filter(({ name }) => name.includes(only));
  const results: Result[] = [];
  for (const [done, question] of questions.entries()) {
    process.stderr.write(`${done + 1} of ${questions.length}: ${question.name}\n`);
    results.push(await measure(database, question, question.sums ? Math.ceil(runs * SHARE_OF_SUMS) : runs));
  }
  const held = results.filter(({ sums }) => !sums);
  const inTime = held.filter(({ again }) => percentile(again, 0.99) <= AIM_P99_MS);
  return [
    `each asked ${runs} times (reports ${Math.ceil(runs * SHARE_OF_SUMS)}), with other values each time where there are others; pages of 100\n`,
    formatTable(
      ['question', 'first p50 ms', 'p99 ms', 'again p50 ms', 'p99 ms', 'statements'],
      results.map(({ name, first, again, statements }) => [
        name,
        ...[first, again].flatMap((times) => [percentile(times, 0.5), percentile(times, 0.99)]),
        String(statements),
      ]),
    ),
    '\nby which indexes\n',
    ...results.map(({ name, plan }) => `${name}: ${plan.join(', ')}\n`),
    `p99 of at most ${AIM_P99_MS} ms in memory (the aim): ${inTime.length} of ${held.length} questions; ${results.length - held.length} reports are not held to it\n`,
  ].join('');
}

interface Result {
  readonly name: string;
  readonly sums: boolean;
  /** In milliseconds, of each run. */
  readonly first: readonly number[];
  readonly again: readonly number[];
  /** The most that were needed. */
  readonly statements: number;
  /** Of all plans that were looked at. */
  readonly plan: readonly string[];
}

async function measure(
  database: Database,
  { name, sums = false, prepare }: Question,
  runs: number,
): Promise<Result> {
  const [first, again]: [number[], number[]] = [[], []];
  const plan = new Set<string>();
  let statements = 0;
  for (let index = -WARM_UPS; index < runs; index++) {
    const ask = await prepare();
    for (const times of [first, again]) {
      const begin = performance.now();
      await ask(database);
      if (index >= 0) times.push(performance.now() - begin);
    }
    if (index >= 0 && index % RUNS_A_PLAN === 0) {
      const heard = await overhear(database, ask);
      statements = Math.max(statements, heard.length);
      for (const statement of heard) for (const node of await planOf(database, statement)) plan.add(node);
    }
  }
  return {
    name,
    sums,
    first,
    again,
    statements,
    plan: [...plan].sort(),
  };
}

type Statement = readonly [text: string, values: readonly unknown[]];

async function overhear(
  database: Database,
  ask: (database: Queryable) => Promise<unknown>,
): Promise<Statement[]> {
  const heard: Statement[] = [];
  await ask({
    query: (text, values = []) => {
      heard.push([text, values]);
      return database.query(text, values);
    },
    copyIn: () => Promise.reject(new Error('a question copies nothing in')),
    copyOut: () => Promise.reject(new Error('nor out')),
  });
  return heard;
}

interface Plan {
  readonly 'Node Type': string;
  readonly 'Index Name'?: string;
  readonly 'Relation Name'?: string;
  readonly 'Plan Rows': number;
  readonly Plans?: readonly Plan[];
}

async function planOf(database: Database, [text, values]: Statement): Promise<string[]> {
  const [row] = await database.query<{ 'QUERY PLAN': [{ Plan: Plan }] }>(
    `EXPLAIN (FORMAT JSON) ${text}`,
    values,
  );
  return row ? nodesOf(row['QUERY PLAN'][0].Plan) : [];
}

/** What reads tables; how it is put in order goes without saying. */
function nodesOf(plan: Plan): string[] {
  const inner = (plan.Plans ?? []).flatMap(nodesOf);
  const [index, table] = [plan['Index Name'], plan['Relation Name']];
  if (index !== undefined) return [...inner, columnsOf(index)];
  // The months to come, and the net: there is nothing to scan.
  if (plan['Node Type'] === 'Seq Scan' && plan['Plan Rows'] > 1) return [...inner, `all of ${table}`];
  return inner;
}

/** PostgreSQL names a partition's index after the partition and its columns. */
function columnsOf(index: string): string {
  return index.replace(/^(issuance|operator_event)_(?:\d{4}_\d{2}|default)_/, '').replace(/_idx\d*$/, '');
}
