import { Metadata, status } from '@grpc/grpc-js';
import test from 'ava';
import { askedMs, backOffMs } from '../../../src/agent/link/back-off.ts';
import { CarnetError } from '../../../src/errors.ts';
import { carnetErrorOf, statusWithCode } from '../../../src/grpc/error-code.ts';

test('the wait is any part of a bound that doubles from 250 ms to 30 s', (t) => {
  t.is(backOffMs(1, null, 0), 0);
  const bounds = [1, 2, 3, 7, 8, 1000].map((failures) => backOffMs(failures, null, 0.999_999));
  t.deepEqual(bounds.map(Math.round), [250, 500, 1000, 16_000, 30_000, 30_000]);
});

for (const [restMs, bound] of [
  [3_600_000, 30_000],
  [60_000, 6_000],
  [1_000, 2_000],
  [0, 30_000],
  [-1, 30_000],
] as const)
  test(`with ${restMs} ms left of a workload's certificate the wait is at most ${bound} ms`, (t) => {
    t.is(Math.round(backOffMs(1000, restMs, 0.999_999)), bound);
    t.is(Math.round(backOffMs(1, restMs, 0.999_999)), 250);
  });

test('a server that says when to come back is obeyed, within two minutes', (t) => {
  const refusal = (retryAfterMs: number | null) =>
    carnetErrorOf(
      Object.assign(new Error(), statusWithCode(new CarnetError('overloaded', 'later'), retryAfterMs)),
    );
  t.is(askedMs(refusal(null), 0.5), 0);
  t.is(askedMs(refusal(4000), 0), 4000);
  t.is(askedMs(refusal(4000), 0.5), 4500);
  t.is(askedMs(refusal(10 ** 8), 0), 120_000);
  t.is(askedMs(new Error('not from a server'), 0.5), 0);
  const bare = Object.assign(new Error(), {
    code: status.UNAVAILABLE,
    details: '',
    metadata: new Metadata(),
  });
  t.is(askedMs(carnetErrorOf(bare), 0.5), 0);
});
