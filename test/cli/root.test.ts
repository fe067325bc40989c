import test from 'ava';
import { rootCommand } from '../../src/cli/root.ts';
import type { StartRequest } from '../../src/rotation/operate.ts';
import { makeAuthority, NOW } from '../api/harness.ts';
import { jsonLines, lines, runCommand, startOperator } from './harness.ts';

test('root status shows each authority, its key and end', async (t) => {
  const { env, api } = await startOperator(t);
  const notAfter = new Date(NOW + 5 * 86_400_000);
  api.authorities.push(await makeAuthority());
  api.authorities.push(await makeAuthority({ id: 'issuing-0a0b0c0d', kind: 'issuing', notAfter }));
  const { stdout } = await runCommand(rootCommand, ['status'], { env });
  t.deepEqual(lines(stdout), [
    'ID                STATE   KEY      SIGNED BY      EXPIRES',
    'root-01020304     active  ec-p256  itself         2027-03-10 12:00:00Z  in 365d',
    'issuing-0a0b0c0d  active  ec-p256  root-01020304  2026-03-15 12:00:00Z  in 5d',
  ]);
  const json = await runCommand(rootCommand, ['status', '--json'], { env });
  const [{ authorities, rotations } = { authorities: [], rotations: [] }] = jsonLines(json.stdout);
  t.deepEqual(
    authorities.map(({ id }: { id: string }) => id),
    ['root-01020304', 'issuing-0a0b0c0d'],
  );
  t.deepEqual(rotations, []);
});

test('root taint is asked for again, of the root or of the issuing CA alone', async (t) => {
  const requests: StartRequest[] = [];
  const { env } = await startOperator(t, {
    rotations: {
      pictures: async () => [],
      startOrResume: async (request) => void requests.push(request),
      requestStep: async () => undefined,
      ended: async () => [],
    },
  });
  t.not((await runCommand(rootCommand, ['taint', '--issuing'], { env })).code, 0);
  t.deepEqual(requests, []);
  const taint = ['taint', '--yes', '--reason', 'key in a backup'];
  // It follows the rotation of the kind that it began, which is over at once here.
  for (const args of [taint, [...taint, '--issuing']])
    t.is((await runCommand(rootCommand, args, { env })).code, 0);
  t.deepEqual(
    requests.map(({ kind, taint, handsFree, reason }) => ({ kind, taint, handsFree, reason })),
    [
      { kind: 'root', taint: true, handsFree: true, reason: 'key in a backup' },
      { kind: 'issuing', taint: true, handsFree: true, reason: 'key in a backup' },
    ],
  );
});
