import { Metadata, status } from '@grpc/grpc-js';
import test from 'ava';
import { askedMs, backOffMs } from '../../../src/agent/link/back-off.ts';
import { CarnetError } from '../../../src/errors.ts';
import { carnetErrorOf, statusWithCode } from '../../../src/grpc/error-code.ts';

test('the wait is any part of a bound that doubles from 250 ms to 30 s', (t) => {
  t.is(backOffMs(1, 0), 0);
  const bounds = [1, 2, 3, 7, 8, 1000].map((failures) => backOffMs(failures, 0.999_999));
  t.deepEqual(bounds.map(Math.round), [250, 500, 1000, 16_000, 30_000, 30_000]);
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
