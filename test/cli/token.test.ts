import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { tokenCommand } from '../../src/cli/token.ts';
import { jsonLines, runCommand, startOperator } from './harness.ts';

test('token create writes the token alone to stdout, or into a new file of mode 0600', async (t) => {
  const { env, dataDir } = await startOperator(t);
  const args = ['create', '--role', 'auditor', '--ttl', '30d', '--name'];
  const shown = await runCommand(tokenCommand, [...args, 'a'], { env });
  t.regex(shown.stdout, /^carnet_auditor_[A-Za-z0-9_-]{43}\n$/);
  t.regex(shown.stderr, /created the auditor token a \(token-\d\), until 2026-04-09 12:00:00Z; keep it/);

  const file = join(dataDir, 'b.token');
  const written = await runCommand(tokenCommand, [...args, 'b', '--output', file], { env });
  t.false(written.stdout.includes('carnet_auditor_'));
  t.is((await stat(file)).mode & 0o777, 0o600);
  const used = await runCommand(tokenCommand, ['list', '--token-file', file, '--json'], { env });
  t.deepEqual(
    jsonLines(used.stdout).flatMap(({ name }) => (['a', 'b'].includes(name) ? [name] : [])),
    ['a', 'b'],
  );
});

test('token create makes no token when its file is taken, and leaves no file when it fails', async (t) => {
  const { env, api, dataDir } = await startOperator(t);
  const create = (name: string, file: string) =>
    runCommand(tokenCommand, ['create', '--name', name, '--role', 'admin', '--output', join(dataDir, file)], {
      env,
    });
  const taken = await create('x', 'admin.token');
  t.is(taken.code, 1);
  t.regex(taken.stderr, /is there already/);
  t.is((await readFile(join(dataDir, 'admin.token'), 'utf8')).trim(), String(api.bearers.admin));
  t.deepEqual(api.tokens.changes, []);
  t.is((await create('not/a/name', 'new.token')).code, 1);
  t.deepEqual(await readdir(dataDir), ['admin.token']);
});

test('token revoke ends a token; list tells its state', async (t) => {
  const { env } = await startOperator(t);
  const eve = jsonLines((await runCommand(tokenCommand, ['list', '--json'], { env })).stdout).find(
    ({ name }) => name === 'eve',
  );
  const { stdout } = await runCommand(tokenCommand, ['revoke', eve.id], { env });
  t.is(stdout, `revoked eve (${eve.id})\n`);
  const list = await runCommand(tokenCommand, ['list'], { env });
  t.regex(list.stdout, /eve +auditor +revoked/);
  t.regex(list.stdout, /expired +admin +expired/);
  t.regex(list.stdout, /root +admin +usable .* 2026-03-10 12:00:00Z +-$/m);
});

test('token create limits a token to scopes; list tells them', async (t) => {
  const { env } = await startOperator(t);
  const create = (...scopes: readonly string[]) =>
    runCommand(
      tokenCommand,
      ['create', '--name', 'ci', '--role', 'operator', ...scopes.flatMap((scope) => ['--scope', scope])],
      { env },
    );
  t.regex((await create('tokens:write')).stderr, /is nothing that operator may/);
  t.is((await create('entries:read', 'entries:write')).code, 0);
  const list = await runCommand(tokenCommand, ['list'], { env });
  t.regex(list.stdout, /ci +operator +usable .* never +entries:read,entries:write$/m);
});
