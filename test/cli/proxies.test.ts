import test from 'ava';
import { proxiesCommand } from '../../src/cli/proxies.ts';
import { NOW } from '../api/harness.ts';
import { jsonLines, lines, runCommand, startOperator } from './harness.ts';

test('proxies shows resources, refusals and what is waited for, and nothing that a terminal acts on', async (t) => {
  const { env, api } = await startOperator(t);
  const none = await runCommand(proxiesCommand, [], { env });
  t.deepEqual(none, { code: 0, stdout: '', stderr: 'no proxy is connected\n' });

  const stream = api.proxies.connect('sds', 'container:1', () => ['spiffe://carnet.local/web']);
  stream.named({ id: 'front\u001b[2J\u009b31m', cluster: '', userAgent: 'envoy' });
  stream.sent('default', '3', new Date(NOW + 42 * 60_000));
  stream.acknowledged('default', '2');
  stream.observed('default', '2');
  stream.rejected('default', '3', 'bad key\r\nfake line');
  stream.sent('ROOTCA', '1', null);
  stream.waiting(['gateway/x']);
  const { stdout } = await runCommand(proxiesCommand, [], { env });
  t.deepEqual(lines(stdout), [
    'spiffe://carnet.local/web',
    '  node front\ufffd[2J\ufffd31m, sds, container:1, connected now',
    '  RESOURCE  SENT  ACKNOWLEDGED  OBSERVED  EXPIRES',
    '  default   3     2             yes       in 42m',
    '  ROOTCA    1     -             -         -',
    '  refused default version 3 now: bad key\ufffd\ufffdfake line',
    '  waits for gateway/x',
  ]);
  const json = await runCommand(proxiesCommand, ['--json'], { env });
  t.is(json.stdout.trimEnd().search(/\p{Cc}/u), -1);
  t.is(jsonLines(json.stdout)[0].node_id, 'front\u001b[2J\u009b31m');
});
