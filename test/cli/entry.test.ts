import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { entryCommand } from '../../src/cli/entry.ts';
import { call } from '../api/harness.ts';
import { jsonLines, lines, runCommand, startOperator } from './harness.ts';

test('entry create, list and delete do what they say, for people and for programs', async (t) => {
  const { env, api } = await startOperator(t);
  const args = ['create', '--spiffe-id', '/web', '--selector', 'unix:uid:1000', '--selector', 'unix:gid:5'];
  const created = await runCommand(
    entryCommand,
    [...args, '--dns-name', 'web.internal', '--ttl', '1h', '--hint', 'internal', '--id', 'web'],
    { env },
  );
  t.deepEqual(created, {
    code: 0,
    stdout: 'created web: spiffe://carnet.local/web (version 1)\n',
    stderr: '',
  });
  t.like(api.entries.entries.get('web'), { hint: 'internal', ttlSeconds: 3600, dnsNames: ['web.internal'] });

  const json = await runCommand(entryCommand, [...args, '--id', 'api', '--json'], { env });
  t.like(JSON.parse(json.stdout), { id: 'api', selectors: ['unix:gid:5', 'unix:uid:1000'], ttl: null });

  const table = await runCommand(entryCommand, ['list'], { env });
  t.deepEqual(lines(table.stdout), [
    'ID   SPIFFE ID                  SELECTORS                 DNS NAMES     TTL  VERSION',
    'api  spiffe://carnet.local/web  unix:gid:5 unix:uid:1000  -             -    1',
    'web  spiffe://carnet.local/web  unix:gid:5 unix:uid:1000  web.internal  1h   1',
  ]);

  const deleted = await runCommand(entryCommand, ['delete', 'api'], { env });
  t.is(deleted.stdout, 'deleted api: spiffe://carnet.local/web (version 1)\n');
  const left = await runCommand(entryCommand, ['list', '--json'], { env });
  t.deepEqual(
    jsonLines(left.stdout).map(({ id }) => id),
    ['web'],
  );
});

test('a list of more than one page is listed whole', async (t) => {
  const { env, api } = await startOperator(t);
  const entries = Array.from({ length: 2100 }, (_, i) => ({
    id: `e${i}`,
    spiffe_id: '/x',
    selectors: [`unix:uid:${i}`],
  }));
  await call(api, 'POST', '/v1/entries:apply', { body: { entries } });
  const { stdout } = await runCommand(entryCommand, ['list', '--json'], { env });
  t.is(new Set(jsonLines(stdout).map(({ id }) => id)).size, 2100);
});

test('entry apply takes YAML and JSON, from a file or stdin', async (t) => {
  const { env, dataDir } = await startOperator(t);
  const yaml = 'entries:\n  - id: web\n    spiffe_id: /web\n    selectors: [unix:uid:1000]\n    ttl: 1h\n';
  const file = join(dataDir, 'entries.yaml');
  await writeFile(file, yaml);
  const dry = await runCommand(entryCommand, ['apply', '-f', file, '--dry-run'], { env });
  t.deepEqual(lines(dry.stdout), ['would be created web: spiffe://carnet.local/web', '0 unchanged']);
  const first = await runCommand(entryCommand, ['apply', '-f', file], { env });
  t.deepEqual(lines(first.stdout), ['created web: spiffe://carnet.local/web (version 1)', '0 unchanged']);
  const stdin = JSON.stringify({ entries: [{ id: 'web', spiffe_id: '/web', selectors: ['unix:uid:7'] }] });
  const second = await runCommand(entryCommand, ['apply', '-f', '-', '--json'], { env, stdin });
  t.like(JSON.parse(second.stdout), { updated: [{ id: 'web', version: 2 }], created: [], deleted: [] });
});

test('entry apply --prune deletes only with --yes or after a person said yes', async (t) => {
  const { env, api } = await startOperator(t);
  await runCommand(entryCommand, ['create', '--spiffe-id', '/x', '--selector', 'a:b:c', '--id', 'old'], {
    env,
  });
  const args = ['apply', '-f', '-', '--prune'];
  const stdin = '{"entries": []}';
  const refused = await runCommand(entryCommand, args, { env, stdin });
  t.is(refused.code, 1);
  t.regex(refused.stderr, /would be deleted: old: .*\n.*give --yes/s);
  t.is(refused.stdout, '');

  const file = join(env.CARNET_DATA_DIR, 'none.json');
  await writeFile(file, stdin);
  const inFile = ['apply', '-f', file, '--prune'];
  const said = await runCommand(entryCommand, inFile, { env, typed: 'n\n' });
  t.is(said.code, 1);
  t.regex(said.stderr, /nothing was changed/);
  t.true(api.entries.entries.has('old'));

  const agreed = await runCommand(entryCommand, inFile, { env, typed: 'y\n' });
  t.is(agreed.code, 0);
  t.regex(agreed.stdout, /^deleted old: /m);
  t.is(api.entries.entries.size, 0);
  t.is((await runCommand(entryCommand, [...args, '--yes'], { env, stdin })).code, 0);
});

for (const [title, text] of [
  ['is no YAML', '{entries: ['],
  ['has no entries', 'entry: []'],
  ['has entries that are no list', 'entries: web'],
  ['has something beside its entries', 'entries: []\nprune: true'],
  ['is empty', ''],
] as const)
  test(`entry apply refuses a file that ${title}`, async (t) => {
    const { env, api } = await startOperator(t);
    const { code, stdout, stderr } = await runCommand(entryCommand, ['apply', '-f', '-'], {
      env,
      stdin: text,
    });
    t.is(code, 1);
    t.is(stdout, '');
    t.regex(stderr, /^carnet: - (is neither YAML nor JSON|must have a list named entries)/);
    t.deepEqual(api.entries.changes, []);
  });
