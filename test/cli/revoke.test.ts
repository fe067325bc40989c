import test, { type ExecutionContext } from 'ava';
import { revokeCommand } from '../../src/cli/revoke.ts';
import { CarnetError } from '../../src/errors.ts';
import type { Denial } from '../../src/revocation/denial.ts';
import type { RevokeRequest } from '../../src/revocation/revoke.ts';
import { NOW } from '../api/harness.ts';
import { jsonLines, lines, runCommand, startOperator } from './harness.ts';

const SERIAL = '0a'.repeat(16);

/** A server whose revocations are only written down. */
async function startRevoking(t: ExecutionContext) {
  const requests: RevokeRequest[] = [];
  const lifted: number[] = [];
  const denial: Denial = {
    id: 3,
    identity: null,
    instance: 'container:1',
    node: null,
    reason: 'test',
    actor: 'operator:root',
    createdAt: new Date(NOW),
    liftedAt: null,
  };
  const { env } = await startOperator(t, {
    revocations: {
      revoke: async (request) => {
        requests.push(request);
        return { denialId: request.target.kind === 'authority' ? null : 3, count: 2, sequence: 7 };
      },
      lift: async (id) => {
        if (id !== 3) throw new CarnetError('not_found', `no denial ${id} is in force`);
        lifted.push(id);
      },
      denials: async () => [denial],
      crl: async () => undefined,
    },
  });
  return { env, requests, lifted };
}

for (const [args, target] of [
  [['--serial', SERIAL.toUpperCase()], { kind: 'serial', serial: SERIAL }],
  [['--identity', '/web', '--yes'], { kind: 'identity', identity: 'spiffe://carnet.local/web' }],
  [['--instance', 'container:1', '--yes'], { kind: 'instance', instance: 'container:1' }],
  [['--node', 'node-1', '--yes'], { kind: 'node', node: 'node-1' }],
  [['--authority', 'issuing-01020304', '--yes'], { kind: 'authority', authority: 'issuing-01020304' }],
] as const)
  test(`revoke ${args[0]} asks for exactly that, with who and why`, async (t) => {
    const { env, requests } = await startRevoking(t);
    const why = ['--reason', 'found in a log', '--reason-code', 'keyCompromise'];
    const { code, stdout, stderr } = await runCommand(revokeCommand, [...args, ...why], { env });
    t.is(code, 0, stderr);
    t.deepEqual(requests, [
      { target, reasonCode: 'keyCompromise', reason: 'found in a log', force: false, actor: 'operator:root' },
    ]);
    t.regex(stdout, /^revoked 2 certificates by bundle 7/);
  });

test('more than one certificate is revoked only when that is meant', async (t) => {
  const { env, requests } = await startRevoking(t);
  const args = ['--identity', '/web'];
  t.is((await runCommand(revokeCommand, args, { env })).code, 1);
  const asked = await runCommand(revokeCommand, args, { env, typed: 'n\n' });
  t.is(asked.code, 1);
  t.regex(asked.stderr, /identity \/web/);
  t.deepEqual(requests, []);
  t.is((await runCommand(revokeCommand, args, { env, typed: 'y\n' })).code, 0);
  t.is(requests.length, 1);
});

for (const args of [
  [],
  ['--serial', SERIAL, '--node', 'n', '--yes'],
  ['--list', '--lift', '3'],
  ['--serial', SERIAL, '--reason-code', 'certificateHold'],
  ['--instance', 'process:4647', '--yes'],
  ['--instance', 'container:0123456789ab', '--yes'],
])
  test(`revoke ${args.join(' ')} is bad usage, and changes nothing`, async (t) => {
    const { env, requests, lifted } = await startRevoking(t);
    t.is((await runCommand(revokeCommand, args, { env })).code, 2);
    t.deepEqual([...requests, ...lifted], []);
  });

test('revoke --list shows what is refused, and --lift ends it', async (t) => {
  const { env, lifted } = await startRevoking(t);
  const { stdout } = await runCommand(revokeCommand, ['--list'], { env });
  t.regex(lines(stdout)[1] ?? '', /^3 +2026-03-10 12:00:00Z +any +container:1 +any +operator:root +-/);
  const json = await runCommand(revokeCommand, ['--list', '--json'], { env });
  t.like(jsonLines(json.stdout)[0], { id: 3, instance: 'container:1', lifted_at: null });
  t.is((await runCommand(revokeCommand, ['--lift', '3'], { env })).code, 0);
  t.deepEqual(lifted, [3]);
  t.is((await runCommand(revokeCommand, ['--lift', '4'], { env })).code, 1);
});
