import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { auditCommand } from '../../src/cli/audit.ts';
import { PostgresExportSource } from '../../src/db/export-source.ts';
import { PostgresIssuanceQuery } from '../../src/db/issuance-query.ts';
import { PostgresLegalHolds } from '../../src/db/legal-holds.ts';
import { PostgresRetiredList } from '../../src/db/retention.ts';
import { call } from '../api/harness.ts';
import { MONTH, OLD_ROWS, startArchive, untilSequenced } from '../db/archive.ts';
import { jsonLines, lines, runCommand, startOperator } from './harness.ts';

async function startAll(t: ExecutionContext) {
  const archive = await startArchive(t);
  const { database, log } = archive;
  const operator = await startOperator(t, {
    auditLog: log,
    exports: new PostgresExportSource(database),
    issuances: new PostgresIssuanceQuery(database),
    holds: new PostgresLegalHolds(database),
    retired: new PostgresRetiredList(database),
  });
  const url = ['--database-url', archive.created.url];
  const run = (...args: string[]) => runCommand(auditCommand, args, { env: operator.env });
  const retain = (...args: string[]) => run('retention', ...url, '--before', '2024-02-01', ...args);
  return { ...archive, ...operator, run, retain, url };
}

test('a month is shown, held, let go, dropped with its export, and what is asked of it is answered', async (t) => {
  const { run, retain, api, directory, database, log, url, dataDir } = await startAll(t);
  const [row] = await database.query<{ serial: string }>(
    `SELECT encode(serial, 'hex') AS serial FROM ${MONTH} LIMIT 1`,
  );
  const serial = row?.serial ?? '';
  t.is((await call(api, 'GET', `/v1/export/all?size=1`)).status, 200);

  const dry = await retain('--dry-run');
  t.deepEqual([dry.code, dry.stdout], [0, `${MONTH}: due, ${OLD_ROWS} rows\n`], dry.stderr);
  const held = await run('hold', 'create', '--identity', '/ns/1/web', '--reason', 'case 12', '--json');
  t.is(held.code, 0, held.stderr);
  const { id } = JSON.parse(held.stdout);
  const kept = await retain('--drop', '--export', directory, '--yes');
  t.is(kept.stdout, `${MONTH}: kept: legal hold ${id} keeps it (case 12)\n`);
  t.false(existsSync(join(directory, `${MONTH}.ndjson`)));
  const released = await run('hold', 'release', String(id), '--reason', 'closed');
  t.is(released.code, 0, released.stderr);
  const listed = await run('hold', 'list');
  t.regex(lines(listed.stdout)[1] ?? '', /spiffe:\/\/carnet\.local\/ns\/1\/web .*case 12 .*: closed$/);

  const unasked = await retain('--drop', '--export', directory);
  t.is(unasked.code, 1);
  t.regex(unasked.stderr, /give --yes/);
  const dropped = await retain('--drop', '--export', directory, '--reason', 'policy 7', '--yes', '--json');
  t.is(dropped.code, 0, dropped.stderr);
  const [done] = jsonLines(dropped.stdout);
  t.like(done, { partition: MONTH, state: 'dropped', rows: OLD_ROWS });
  const again = await retain('--drop', '--export', directory, '--yes');
  t.deepEqual([again.code, again.stdout], [0, '']);

  const file = join(directory, done.file);
  const checked = await run('verify', '--export', file);
  t.is(checked.code, 0, checked.stderr);
  t.true(readFileSync(file, 'utf8').includes(serial));
  const proved = await run('verify', '--export', file, '--log', `${api.url}/log`);
  t.is(proved.code, 0, proved.stderr);
  t.regex(proved.stdout, /each in the tree of \d+ entries that its checkpoint signs/);
  await untilSequenced(log);
  const verified = await run('verify', ...url, '--json');
  t.is(verified.code, 0, verified.stderr);
  t.like(JSON.parse(verified.stdout), { ok: true, retired: [{ partition: MONTH, rows: OLD_ROWS }] });

  const missing = await call(api, 'GET', `/v1/issuances/${serial}`);
  t.is(missing.status, 404);
  t.regex(missing.json.detail, new RegExp(`${MONTH}\\.ndjson.*${done.sha256}`));
  const entries = await call(api, 'GET', '/log/tile/entries/000');
  t.is(entries.status, 404);
  t.is((await call(api, 'GET', '/log/tile/0/000')).status, 200);
  const { json } = await call(api, 'GET', '/v1/retention', { as: 'auditor' });
  t.like(json.items[0], { partition: MONTH, how: 'drop', reason: 'policy 7' });

  const rest = join(dataDir, 'rest.ndjson');
  const exported = await run('export', '--output', rest, '--full', '--json');
  t.is(exported.code, 0, exported.stderr);
  const manifest = JSON.parse(exported.stdout);
  t.is(manifest.records, manifest.size - OLD_ROWS);
  t.like(manifest.retired[0], { partition: MONTH, rows: OLD_ROWS, sha256: done.sha256 });
  t.is((await run('verify', '--export', rest)).code, 0);
});

test('what is not said, or contradicts itself, is bad usage and does nothing', async (t) => {
  const { run, url, retain } = await startAll(t);
  for (const [args, message] of [
    [['--before', '2024-02-01'], /say --drop, --detach or --dry-run/],
    [['--before', '2024-02-01', '--drop'], /--export DIR says where/],
    [['--before', '2024-02-01', '--drop', '--detach'], /cannot be used with/],
    [['--dry-run'], /say --older-than AGE or --before TIME/],
    [['--older-than', 'long', '--dry-run'], /--older-than long/],
  ] as const) {
    const { code, stderr } = await run('retention', ...url, ...args);
    t.is(code, 2, stderr);
    t.regex(stderr, message);
  }
  t.is((await run('retention', ...url, '--older-than', '13mo', '--dry-run')).code, 0);
  const all = await retain('--dry-run', '--kind', 'all', '--json');
  t.deepEqual(
    jsonLines(all.stdout).map(({ partition, state, rows }) => [partition, state, rows]),
    [
      [MONTH, 'due', OLD_ROWS],
      ['operator_event_2024_01', 'due', 5],
    ],
  );
  const nothing = await run('hold', 'create', '--reason', 'case 12');
  t.is(nothing.code, 2);
  const both = await run('hold', 'create', '--identity', '/a', '--identity-prefix', '/a', '--reason', 'x');
  t.is(both.code, 1);
  t.is((await run('hold', 'release', '9', '--reason', 'x')).code, 1);
});
