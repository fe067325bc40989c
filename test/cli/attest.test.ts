import test from 'ava';
import { attestCommand } from '../../src/cli/attest.ts';
import { call } from '../api/harness.ts';
import { IS_ROOT, NOBODY } from '../attestation/caller.ts';
import { jsonLines, lines, runCommand, startOperator } from './harness.ts';

const UID = process.getuid?.() ?? 0;
const OWN = ['--pid', String(process.pid)];

test('attest shows every selector of a process, whose word each is, and what the entries say to them', async (t) => {
  const { env, api } = await startOperator(t);
  const entries = [
    { id: 'own', spiffe_id: '/own', selectors: [`unix:uid:${UID}`] },
    { id: 'second', spiffe_id: '/own', selectors: [`unix:uid:${UID}`] },
    { id: 'other', spiffe_id: '/other', selectors: [`unix:uid:${UID}`, 'unix:uid:4711'] },
    { id: 'blank', spiffe_id: '/{k8s:ns}', selectors: [`unix:uid:${UID}`] },
    { id: 'below', spiffe_id: '/below', selectors: [`unix:uid:${UID}`, 'node:name:n1'] },
  ];
  await call(api, 'POST', '/v1/entries:apply', { body: { entries } });
  const { code, stdout, stderr } = await runCommand(attestCommand, OWN, { env });
  t.is(code, 0, stderr);
  const shown = lines(stdout).map((line) => line.replace(/ {2,}/g, '  '));
  t.true(shown.some((line) => line.startsWith(`unix:uid:${UID}  the kernel: `)));
  t.true(shown.some((line) => /^unix:sha256:[0-9a-f]{64} {2}read here/.test(line)));
  t.deepEqual(shown.slice(shown.indexOf('ENTRY  SPIFFE ID  OUTCOME') + 1), [
    'below  spiffe://carnet.local/below  it lacks node:name:n1',
    'other  spiffe://carnet.local/other  it lacks unix:uid:4711',
    'blank  spiffe://carnet.local/{k8s:ns}  no selector of the caller has a value for {k8s:ns}',
    'own  spiffe://carnet.local/own  granted',
    'second  spiffe://carnet.local/own  own grants the same identity, and comes first',
  ]);
});

test('attest names the entry that is the default, where that does not depend on a node', async (t) => {
  const { env, api } = await startOperator(t);
  const entries = [
    { id: 'a', spiffe_id: '/a', selectors: [`unix:uid:${UID}`] },
    { id: 'b', spiffe_id: '/b', selectors: [`unix:uid:${UID}`] },
  ];
  await call(api, 'POST', '/v1/entries:apply', { body: { entries } });
  const { stdout } = await runCommand(attestCommand, OWN, { env });
  t.regex(stdout, /^a +spiffe:\/\/carnet\.local\/a +granted, as its default$/m);
  t.regex(stdout, /^b +spiffe:\/\/carnet\.local\/b +granted$/m);
});

test('attest --json is one document, with the evidence as it would be recorded', async (t) => {
  const { env, api } = await startOperator(t);
  const entries = [{ id: 'own', spiffe_id: '/own', selectors: [`unix:uid:${UID}`] }];
  await call(api, 'POST', '/v1/entries:apply', { body: { entries } });
  const { stdout } = await runCommand(attestCommand, [...OWN, '--json'], { env });
  const [document] = jsonLines(stdout);
  t.like(document, { pid: process.pid, entries_problem: null });
  t.like(document.evidence, { pid: process.pid, uid: UID });
  t.deepEqual(document.entries, [
    { id: 'own', spiffe_id: 'spiffe://carnet.local/own', outcome: 'granted', reason: null },
  ]);
  t.true(document.selectors.every(({ source }: { source: string }) => source !== 'not known'));
});

test('attest needs no server for the selectors, and says that it compared none', async (t) => {
  const { env } = await startOperator(t);
  const away = { ...env, CARNET_SERVER: 'http://127.0.0.1:1' };
  const { code, stdout, stderr } = await runCommand(attestCommand, OWN, { env: away });
  t.is(code, 0);
  t.regex(stdout, /unix:uid:/);
  t.regex(stderr, /^entries were not compared: http:\/\/127\.0\.0\.1:1 /);
});

for (const [claim, args, code, says] of [
  ['no number', ['--pid', 'x'], 2, /--pid x is no process number/],
  ['a process that is not there', ['--pid', '999999999'], 1, /process 999999999 has ended, or/],
  ['no process', [], 2, /required option '--pid <PID>'/],
  ['a node that the server does not know', [...OWN, '--node', 'n1'], 1, /knows no agent of node n1/],
  [
    'a setting that nothing would heed',
    [...OWN, '--kubelet-url', 'https://a:1'],
    2,
    /--kubelet-url needs --pods-from/,
  ],
] as const)
  test(`attest says what is wrong with ${claim}`, async (t) => {
    const { env } = await startOperator(t);
    const outcome = await runCommand(attestCommand, args, { env });
    t.is(outcome.code, code);
    t.regex(outcome.stderr, says);
    t.is(outcome.stdout, '');
  });

test.serial("only root may attest other users' processes, and is told how", async (t) => {
  const { env } = await startOperator(t);
  if (IS_ROOT) process.seteuid?.(NOBODY);
  try {
    const { code, stderr } = await runCommand(
      attestCommand,
      ['--pid', IS_ROOT ? String(process.ppid) : '1'],
      { env },
    );
    t.is(code, 1);
    t.regex(stderr, /only root may look at other users' processes/);
  } finally {
    if (IS_ROOT) process.seteuid?.(0);
  }
});
