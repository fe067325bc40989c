import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { launchCarnet, runCarnet } from '../support/carnet.ts';

test('fetch --wait waits for an agent that is starting, and for what it grants', async (t) => {
  await using carnet = await launchCarnet([]);
  const target = join(carnet.dataDir, 'identity');
  const { code, stdout, stderr } = await carnet.cli('fetch', '--wait', '--timeout', '60', '--write', target);
  t.is(code, 0, stderr);
  t.regex(stdout, /SPIFFE ID/);
  t.regex(readFileSync(join(target, 'bundle.pem'), 'utf8'), /BEGIN CERTIFICATE/);
});

test('fetch gives up when its time is over', async (t) => {
  for (const flags of [['--wait'], []]) {
    const args = ['fetch', ...flags, '--timeout', '1', '--agent-socket', '/nowhere/agent.sock'];
    const { code, stderr } = await runCarnet(args);
    t.is(code, 1);
    t.regex(stderr, /carnet: /);
  }
});
