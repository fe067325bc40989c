import test from 'ava';
import fc from 'fast-check';
import { afterFailure, afterSuccess, isStale, refreshInterval } from '../../src/federation/refresh-time.ts';

for (const [what, hint, seconds] of [
  ['five minutes where there is no hint (SPIFFE Federation §4.1)', null, 300],
  ['as the hint says', 60, 60],
  ['no more often than every 5 s', 0, 5],
  ['no less often than every hour', 2_592_000, 3600],
] as const)
  test(`looks ${what}`, (t) => {
    t.is(refreshInterval(hint), seconds);
  });

test('a look comes no later than the hint, and not all come together', (t) => {
  t.deepEqual(
    [0, 0.5, 1].map((random) => afterSuccess(100, random)),
    [80, 90, 100],
  );
});

test('a failed look is repeated never sooner than usual (§6.2), ever later, and within bounds', (t) => {
  fc.assert(
    fc.property(
      fc.option(fc.nat()),
      fc.integer({ min: 1, max: 10_000 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (hint, failures, random) => {
        const [seconds, next] = [failures, failures + 1].map((count) => afterFailure(hint, count, random));
        const interval = refreshInterval(hint);
        t.true(seconds !== undefined && next !== undefined && next >= seconds);
        t.true(seconds !== undefined && seconds >= interval * 0.8 - 1);
        t.true(seconds !== undefined && seconds <= Math.max(interval, 300) * 1.2 + 1);
      },
    ),
  );
});

test('a bundle is stale once three looks were missed', (t) => {
  t.deepEqual(
    [180_000, 180_001].map((age) => isStale(age, 0, 60)),
    [false, true],
  );
});
