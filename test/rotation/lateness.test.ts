import test from 'ava';
import { LatenessLog } from '../../src/cli/lateness-log.ts';
import type { Logger } from '../../src/log.ts';
import { lateAuthorities } from '../../src/rotation/lateness.ts';
import { createWorld, DAY_MS, NOW } from './world.ts';

const YEAR = 360;

for (const [day, halvings] of [
  [0, []],
  [269, []],
  [270, [2]],
  [314, [2]],
  [315, [3]],
  [359, [8]],
  [360, [Number.POSITIVE_INFINITY]],
  [400, [Number.POSITIVE_INFINITY]],
] as const)
  test(`a root of ${YEAR} days is late by ${JSON.stringify(halvings)} on day ${day}`, async (t) => {
    const root = { ...(await rootOf()), notBefore: new Date(NOW) };
    t.deepEqual(
      lateAuthorities(NOW + day * DAY_MS, [root]).map((late) => late.halvings),
      [...halvings],
    );
  });

test('one that drains, is retired or not yet in use is not late', async (t) => {
  const root = await rootOf();
  for (const state of ['prepared', 'published', 'draining', 'retired'] as const)
    t.deepEqual(lateAuthorities(NOW + YEAR * DAY_MS, [{ ...root, state }]), []);
});

test('the log has a line for each halving, not for each look', async (t) => {
  const root = { ...(await rootOf()), notBefore: new Date(NOW) };
  const lines: string[] = [];
  const note =
    (level: string) =>
    (_: object, message: string): void =>
      void lines.push(`${level} ${message}`);
  const lateness = new LatenessLog({ warn: note('warn'), error: note('error') } as unknown as Logger);
  for (let hour = 0; hour <= YEAR * 24 - 1; hour++) lateness.look(NOW + (hour * DAY_MS) / 24, [root], []);
  // From a quarter to the last hour of 8640.
  t.is(lines.length, 12);
  t.is(lines[0], 'warn the root CA nears its end and no rotation is under way: carnet root rotate');
  lateness.look(NOW + YEAR * DAY_MS, [root], []);
  lateness.look(NOW + 2 * YEAR * DAY_MS, [root], []);
  t.deepEqual(
    lines.slice(12).map((line) => line.split(' ')[0]),
    ['error'],
  );
});

async function rootOf() {
  const world = createWorld();
  await world.advance();
  const [root] = world.store.state.authorities;
  if (root === undefined) throw new Error('there is no root');
  return root;
}

test('a key of JWT-SVIDs that nothing replaced is late as well, and the log says what to do', async (t) => {
  const world = createWorld({ jwtKeyTtlMs: YEAR * DAY_MS });
  await world.advance();
  const [key] = await world.store.jwtKeys();
  if (key === undefined) return t.fail();
  const said: string[] = [];
  const note = (_fields: object, message: string): void => void said.push(message);
  new LatenessLog({ warn: note, error: note } as unknown as Logger).look(NOW + 270 * DAY_MS, [key], []);
  t.deepEqual(said, ['the key of JWT-SVIDs nears its end and no rotation is under way: carnet jwt rotate']);
});
