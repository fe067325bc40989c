import test from 'ava';
import { auditCommand } from '../../src/cli/audit.ts';
import { makeCertificate, makeIssuance, NOW } from '../api/harness.ts';
import { jsonLines, lines, runCommand, startOperator } from './harness.ts';

test('audit search passes each filter on, and reads dates and how long ago', async (t) => {
  const { env, api } = await startOperator(t);
  const filters = [
    '--instance',
    'container:1',
    '--serial',
    'AB:CD',
    '--node',
    'n',
    '--entry',
    'e',
    '--authority',
    'a',
    ...['--identity-prefix', '/pay', '--entry-version', '3', '--requester', 'agent:n', '--profile', 'agent'],
    ...['--fingerprint', 'AB:'.repeat(31).concat('AB'), '--valid-at', '1h', '--unexpired-at', '2026-03-09'],
    '--no-revoked',
  ];
  const times = ['--from', '24h', '--to', '2026-03-11'];
  const { code } = await runCommand(auditCommand, ['search', '--identity', '/web', ...filters, ...times], {
    env,
  });
  t.is(code, 0);
  t.deepEqual(api.issuances.searches, [
    {
      identity: 'spiffe://carnet.local/web',
      instance: 'container:1',
      serial: 'abcd'.padStart(32, '0'),
      node: 'n',
      entry: 'e',
      authority: 'a',
      identityPrefix: 'spiffe://carnet.local/pay',
      entryVersion: 3,
      requester: 'agent:n',
      profile: 'agent',
      fingerprint: 'ab'.repeat(32),
      validAt: new Date(NOW - 3_600_000),
      unexpiredAt: new Date('2026-03-09T00:00:00Z'),
      revoked: false,
      from: new Date(NOW - 86_400_000),
      to: new Date('2026-03-11T00:00:00Z'),
    },
  ]);
});

test('audit search takes a rule for an entry, and what is revoked', async (t) => {
  const { env, api } = await startOperator(t);
  await runCommand(auditCommand, ['search', '--rule', 'web', '--revoked'], { env });
  t.deepEqual(api.issuances.searches, [{ entry: 'web', revoked: true }]);
  const both = await runCommand(auditCommand, ['search', '--rule', 'web', '--entry', 'web'], { env });
  t.is(both.code, 1);
  const version = await runCommand(auditCommand, ['search', '--entry-version', '2'], { env });
  t.regex(version.stderr, /entry_version needs the entry/);
});

test('audit holders asks who held an identity at a time, by default now', async (t) => {
  const { env, api } = await startOperator(t);
  api.issuances.issuances.push(makeIssuance(0, await makeCertificate('leaf')));
  const now = await runCommand(auditCommand, ['holders', '/web'], { env });
  t.deepEqual(lines(now.stdout), [
    'INSTANCE     NODE    SERIAL                            VALID FROM            VALID TO              RULE',
    'container:0  node-1  00000000000000000000000000000000  2026-03-10 11:59:30Z  2026-03-10 13:00:00Z  web v1',
  ]);
  await runCommand(auditCommand, ['holders', '/web', '--at', '2026-03-01T12:00:00Z'], { env });
  t.deepEqual(
    api.issuances.searches.map(({ validAt }) => validAt),
    [new Date(NOW), new Date('2026-03-01T12:00:00Z')],
  );
});

test('audit explain shows the selectors, what each rule meant, and who wrote the one that granted', async (t) => {
  const { env, api } = await startOperator(t);
  const serial = 'ab'.padStart(32, '0');
  api.issuances.issuances.push(makeIssuance(0xab, await makeCertificate('leaf')));
  const { stdout, stderr, code } = await runCommand(auditCommand, ['explain', 'ab'], { env });
  t.is(code, 0);
  for (const line of [
    /^Rule written {2}2026-03-01T00:00:00\.000000Z by operator:eve \(entry\.create, log entry 3\)$/m,
    /^ {2}unix:uid:1000$/m,
    /^ {2}web version 1 +granted it$/m,
    /^ {4}written +2026-03-01 00:00:00Z by operator:eve$/m,
    /^ {2}and 2 more, which match less$/m,
  ])
    t.regex(stdout, line);
  t.regex(stderr, /the evidence has not all selectors/);
  const json = await runCommand(auditCommand, ['explain', serial, '--json'], { env });
  t.like(JSON.parse(json.stdout), { serial, selectors_from: 'derived', other_rules: 2 });
});

test('audit report counts by whole days, and says what it does not show', async (t) => {
  const { env, api } = await startOperator(t);
  const { stdout, stderr } = await runCommand(auditCommand, ['report', '--by', 'day', '--from', '36h'], {
    env,
  });
  t.deepEqual(lines(stdout), [
    'DAY                   ISSUED  FIRST                 LAST',
    '2026-03-09 00:00:00Z  3       2026-03-09 10:00:00Z  2026-03-09 10:00:00Z',
  ]);
  t.is(stderr, '5 issued, as of 9 entries in the log, 1 rows are not shown (--limit)\n');
  await runCommand(auditCommand, ['report', '--by', 'identity', '--rule', 'web', '--limit', '7'], { env });
  await runCommand(auditCommand, ['report', '--by', 'hour'], { env });
  const march = (text: string): Date => new Date(`2026-03-${text}:00Z`);
  t.deepEqual(api.reports.requests, [
    { by: 'day', from: march('09T00:00'), to: march('11T00:00'), entry: null, limit: 1000 },
    { by: 'identity', from: null, to: march('11T00:00'), entry: 'web', limit: 7 },
    { by: 'hour', from: march('08T13:00'), to: march('10T13:00'), entry: null, limit: 1000 },
  ]);
  t.is((await runCommand(auditCommand, ['report'], { env })).code, 2);
});

test('audit granted lists every identity of a rule, page by page', async (t) => {
  const { env } = await startOperator(t);
  const first = await runCommand(auditCommand, ['granted', 'web', '--limit', '2'], { env });
  t.deepEqual(lines(first.stdout), [
    'IDENTITY                     ISSUED  FIRST                 LAST',
    'spiffe://carnet.local/web/a  3       2026-03-09 10:00:00Z  2026-03-09 10:00:00Z',
    'spiffe://carnet.local/web/b  3       2026-03-09 10:00:00Z  2026-03-09 10:00:00Z',
  ]);
  const [, cursor = ''] = /repeat with --cursor (\S+),/.exec(first.stderr) ?? [];
  const next = await runCommand(auditCommand, ['granted', 'web', '--cursor', cursor, '--json'], { env });
  t.is(JSON.parse(next.stdout).identity, 'spiffe://carnet.local/web/c');
  t.is((await runCommand(auditCommand, ['granted'], { env })).code, 2);
});

test('audit report counts expiries ahead', async (t) => {
  const { env } = await startOperator(t);
  const { stdout, stderr } = await runCommand(auditCommand, ['report', '--expiries', '--hours', '5'], {
    env,
  });
  t.deepEqual(lines(stdout), ['HOUR                  ENDING', '2026-03-10 12:00:00Z  5']);
  t.is(stderr, 'and 1 later\n');
});

test('audit events shows who changed what, and which fields', async (t) => {
  const { env, api } = await startOperator(t);
  api.operatorEvents.events.push({
    actor: 'operator:eve',
    action: 'entry.update',
    subject: 'web',
    before: { id: 'web', version: 1, ttlSeconds: 60 },
    after: { id: 'web', version: 2, ttlSeconds: 90 },
    reason: '',
    recordedAtMicros: BigInt(NOW) * 1000n,
    logIndex: 7,
  });
  const filters = ['--actor', 'operator:eve', '--action', 'entry.', '--subject', 'web', '--from', '24h'];
  const { stdout, code } = await runCommand(auditCommand, ['events', ...filters], { env });
  t.is(code, 0);
  t.deepEqual(lines(stdout), [
    'RECORDED              ACTOR         ACTION        SUBJECT  CHANGED             REASON',
    '2026-03-10 12:00:00Z  operator:eve  entry.update  web      version ttlSeconds  -',
  ]);
  t.deepEqual(api.operatorEvents.searches, [
    { actor: 'operator:eve', action: 'entry.', subject: 'web', from: new Date(NOW - 86_400_000) },
  ]);
  const json = await runCommand(auditCommand, ['events', '--json'], { env });
  t.like(jsonLines(json.stdout)[0], { before: { version: 1 }, after: { version: 2 }, log_index: 7 });
});

test('audit search shows a page and says how to go on; --all shows all', async (t) => {
  const { env, api } = await startOperator(t);
  const certificate = await makeCertificate('leaf');
  for (let i = 0; i < 1500; i++) api.issuances.issuances.push(makeIssuance(i, certificate));
  const page = await runCommand(auditCommand, ['search', '--limit', '2'], { env });
  t.deepEqual(lines(page.stdout), [
    'RECORDED              IDENTITY                   SERIAL                            EXPIRES               INSTANCE     NODE',
    '2026-03-10 12:00:00Z  spiffe://carnet.local/web  00000000000000000000000000000000  2026-03-10 13:00:00Z  container:0  node-1',
    '2026-03-10 11:59:59Z  spiffe://carnet.local/api  00000000000000000000000000000001  2026-03-10 13:00:00Z  container:1  node-1',
  ]);
  t.is(page.stderr, 'there are more: repeat with --cursor 2, or with --all\n');
  const all = await runCommand(auditCommand, ['search', '--all', '--json'], { env });
  t.is(new Set(jsonLines(all.stdout).map(({ serial }) => serial)).size, 1500);
  t.is(all.stderr, '');
});

test('audit show shows the certificate, who vouched and which entry granted it', async (t) => {
  const { env, api } = await startOperator(t);
  api.issuances.issuances.push(makeIssuance(0xab, await makeCertificate('leaf')));
  const serial = 'ab'.padStart(32, '0');
  const { stdout, code } = await runCommand(auditCommand, ['show', serial], { env });
  t.is(code, 0);
  for (const line of [
    /^Serial {15}0{30}ab$/m,
    /^Granted by {11}web version 1: spiffe:\/\/carnet\.local\/web$/m,
    /^Evidence uid {9}1000$/m,
    /^Requested by {9}agent:node-1$/m,
    /^-----BEGIN CERTIFICATE-----$/m,
  ])
    t.regex(stdout, line);
  const json = await runCommand(auditCommand, ['show', serial, '--json'], { env });
  t.is(JSON.parse(json.stdout).serial, serial);
  const missing = await runCommand(auditCommand, ['show', '00'], { env });
  t.deepEqual([missing.code, missing.stdout], [1, '']);
});
