import test from 'ava';
import { auditCommand } from '../../src/cli/audit.ts';
import { NOW } from '../api/harness.ts';
import { sinkState } from '../api/memory-sinks.ts';
import { jsonLines, runCommand, startOperator } from './harness.ts';

test('audit forward status says how far each sink is, and what keeps it', async (t) => {
  const { env, api } = await startOperator(t);
  const run = (...args: string[]) => runCommand(auditCommand, ['forward', 'status', ...args], { env });
  const none = await run();
  t.is(none.stdout, '');
  t.regex(none.stderr, /^the log is forwarded nowhere: see --forward-syslog/);
  const acknowledgedAt = new Date(NOW - 60_000);
  const bad = { failures: 4, failingSince: acknowledgedAt, problem: 'it answers\u001b[2J 500' };
  api.sinks.sinks.push(
    sinkState({ name: 'syslog', acknowledgedAt: null }),
    sinkState({ acknowledgedAt, ...bad }),
  );
  const { stdout } = await run();
  t.regex(stdout, /^syslog +https:\/\/siem\.example +7 +3 +2 s +-$/m);
  t.regex(stdout, /^webhook +https:\/\/siem\.example +7 +3 +2 s +60s ago$/m);
  t.regex(stdout, /^ {2}webhook failed 4 times in a row: it answers\ufffd\[2J 500$/m);
  t.like(jsonLines((await run('--json')).stdout)[1], { name: 'webhook', position: 7, failures: 4 });
});

test('audit forward move asks first, and says why on record', async (t) => {
  const { env, api } = await startOperator(t);
  api.sinks.sinks.push(sinkState());
  const run = (...args: string[]) => runCommand(auditCommand, ['forward', 'move', ...args], { env });
  t.is((await run('webhook', '--to', '5')).code, 2, 'without a reason');
  t.is((await run('webhook', '--to', '-5', '--reason', 'again')).code, 2);
  const asked = await run('webhook', '--to', '5', '--reason', 'again');
  t.is(asked.code, 1);
  t.regex(asked.stderr, /^webhook gets entry 5 of the log next\.$/m);
  t.is(
    (await run('webhook', '--to', '5', '--reason', 'again', '--yes')).stdout,
    'webhook goes on with entry 5\n',
  );
  t.is(api.sinks.sinks[0]?.position, 5);
  t.is((await run('other', '--to', '5', '--reason', 'again', '--yes')).code, 1);
});
