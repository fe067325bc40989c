import test from 'ava';
import { agentsCommand } from '../../src/cli/agents.ts';
import { joinTokenCommand } from '../../src/cli/join-token.ts';
import { makeAuthority } from '../api/harness.ts';
import { jsonLines, runCommand, startOperator } from './harness.ts';

test('join-token create writes the token alone to stdout; list and delete name it by its ID', async (t) => {
  const { env, api } = await startOperator(t);
  api.authorities.push(await makeAuthority());
  const run = (...args: string[]) => runCommand(joinTokenCommand, args, { env });
  const created = await run(
    'create',
    '--node',
    'web-1',
    '--selector',
    'node:rack:7',
    '--selector',
    'node:row:2',
  );
  t.regex(created.stdout, /^cnj1\.[0-9a-f]{16}\.[A-Za-z0-9_-]{43}\.[A-Za-z0-9_-]{43}\n$/);
  t.regex(created.stderr, /^web-1 can join once, until 2026-03-10 12:10:00Z; keep it/);
  const [token] = jsonLines((await run('list', '--json')).stdout);
  t.like(token, { node: 'web-1', selectors: ['node:rack:7', 'node:row:2'] });
  const id = String(token?.id);
  t.regex((await run('list')).stdout, new RegExp(`${id} +web-1 +usable`));
  t.is((await run('delete', id)).stdout, `revoked ${id}\n`);
  t.regex((await run('list')).stdout, new RegExp(`${id} +web-1 +revoked`));
  t.is((await run('delete', 'none')).code, 1);
});

test('agents list says how each is, and why one is banned', async (t) => {
  const { env, api } = await startOperator(t);
  api.agents.add('web-1');
  api.agents.add('web-2');
  const run = (...args: string[]) =>
    runCommand(agentsCommand, args, { env, now: Date.parse('2026-03-01T12:00:00Z') });
  t.is((await run('ban', 'web-2')).code, 2, 'without a reason');
  const banned = await run('ban', 'web-2', '--reason', 'its disk\u001b[2J was stolen');
  t.is(banned.code, 1, 'a reason that clears the screen');
  t.is((await run('ban', 'web-2', '--reason', 'stolen')).stdout, 'banned the agent of web-2\n');
  const { stdout } = await run('list');
  t.regex(stdout, /^web-1 +away +join_token/m);
  t.regex(stdout, /^web-2 +banned +join_token/m);
  t.regex(stdout, /^ {2}web-2 was banned by operator:root: stolen$/m);
  t.is((await run('unban', 'web-2')).stdout, 'the agent of web-2 may be attested anew\n');
  t.regex((await run('list')).stdout, /^web-2 +must be attested/m);
  t.is((await run('unban', 'web-3')).code, 1);
});
