import test from 'ava';
import type { StoredJwtKey } from '../../src/ca/jwt-key.ts';
import { jwtCommand } from '../../src/cli/jwt.ts';
import type { StartRequest } from '../../src/rotation/operate.ts';
import type { RotationPicture } from '../../src/rotation/picture.ts';
import { NOW } from '../api/harness.ts';
import { jsonLines, lines, runCommand, startOperator } from './harness.ts';

function key(id: string, state: StoredJwtKey['state']): StoredJwtKey {
  return {
    ...{ id, kind: 'jwt', state, keyAlgorithm: 'ec-p256', publicKey: new Uint8Array() },
    ...{ sealedKey: new Uint8Array(), keyReference: null, publishedSequence: 7 },
    notBefore: new Date(NOW),
    notAfter: new Date(NOW + 7 * 86_400_000),
    createdAt: new Date(NOW),
    stateSince: new Date(NOW),
  };
}

const DRAINING: RotationPicture = {
  rotation: {
    ...{ id: 1, kind: 'jwt', handsFree: true, urgent: false, crossSign: false, holdSeconds: 600 },
    ...{
      requested: null,
      requestedBy: null,
      force: false,
      oldId: 'jwt-1',
      newId: 'jwt-2',
      gateOpenSince: null,
    },
    ...{ actor: 'operator:root', reason: 'test', startedAt: new Date(NOW) },
  },
  phase: 'draining',
  sequence: 7,
  consumers: 0,
  acknowledged: 0,
  observed: 0,
  laggards: [],
  presenters: [],
  outstanding: { count: 20, until: NOW + 240_000 },
  openBy: NOW + 240_000,
};

test('jwt status shows each key, and what the rotation under way waits for', async (t) => {
  const { env } = await startOperator(t, {
    jwtKeys: async () => [key('jwt-1', 'draining'), key('jwt-2', 'active')],
    rotations: {
      pictures: async () => [DRAINING],
      startOrResume: async () => undefined,
      requestStep: async () => undefined,
      ended: async () => [],
    },
  });
  const { stdout } = await runCommand(jwtCommand, ['status'], { env });
  t.deepEqual(lines(stdout), [
    'ID     STATE     KEY      EXPIRES',
    'jwt-1  draining  ec-p256  2026-03-17 12:00:00Z  in 7d',
    'jwt-2  active    ec-p256  2026-03-17 12:00:00Z  in 7d',
    'jwt rotation jwt-1 -> jwt-2: draining',
    `  prepared      [${'#'.repeat(24)}]`,
    `  published     [${'#'.repeat(24)}]`,
    `  activated     [${'#'.repeat(24)}]`,
    '  drained       20 tokens of the old key to wait for',
    '  at the latest in 4m',
  ]);
  const [json] = jsonLines((await runCommand(jwtCommand, ['status', '--json'], { env })).stdout);
  t.like(json, { keys: [{ id: 'jwt-1' }, { id: 'jwt-2' }], rotation: { kind: 'jwt', outstanding: 20 } });
});

test('jwt rotate and taint begin a rotation of the key, with what was given', async (t) => {
  const requests: StartRequest[] = [];
  const { env } = await startOperator(t, {
    rotations: {
      pictures: async () => [],
      startOrResume: async (request) => void requests.push(request),
      requestStep: async () => undefined,
      ended: async () => [],
    },
  });
  await runCommand(jwtCommand, ['rotate', '--hold', '1h', '--reason', 'monthly', '--no-wait'], { env });
  const denied = await runCommand(jwtCommand, ['taint', '--no-wait'], { env });
  t.not(denied.code, 0);
  await runCommand(jwtCommand, ['taint', '--yes', '--no-wait'], { env });
  t.deepEqual(
    requests.map(({ kind, taint, holdSeconds, reason, handsFree }) => ({
      ...{ kind, taint, holdSeconds, reason, handsFree },
    })),
    [
      { kind: 'jwt', taint: false, holdSeconds: 3600, reason: 'monthly', handsFree: true },
      { kind: 'jwt', taint: true, holdSeconds: null, reason: '', handsFree: true },
    ],
  );
});

for (const args of [['fetch'], ['validate'], ['fetch', '--audience']])
  test(`jwt ${args.join(' ')} is bad usage without an audience`, async (t) => {
    t.is((await runCommand(jwtCommand, args)).code, 2);
  });
