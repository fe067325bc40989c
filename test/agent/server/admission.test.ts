import test from 'ava';
import { Admission } from '../../../src/agent/server/admission.ts';
import { CarnetError } from '../../../src/errors.ts';

const NEVER = new AbortController().signal;

test('after the first burst agents are let in by whose certificates end first, those without any last', async (t) => {
  const admission = new Admission({ perSecond: 10, burst: 1, maxWaiting: 100 });
  await admission.enter(0, NEVER);
  const order: number[] = [];
  await Promise.all(
    [50, 0, 10, 40, 0, 20, 30, 10].map(async (end, i) => {
      await admission.enter(end, NEVER);
      order.push(end === 10 ? 10 + i / 10 : end);
    }),
  );
  t.deepEqual(order, [10.2, 10.7, 20, 30, 40, 50, 0, 0], 'equals by arrival');
  t.is(admission.waiting, 0);
});

test('a thousand at once get in at the rate, not faster', async (t) => {
  const admission = new Admission({ perSecond: 1000, burst: 100, maxWaiting: 1000 });
  const began = performance.now();
  await Promise.all(Array.from({ length: 500 }, (_, i) => admission.enter(i, NEVER)));
  t.true(performance.now() - began >= 390, '100 at once, and 400 at 1,000 a second');
});

test('one too many is told when to come back', async (t) => {
  const admission = new Admission({ perSecond: 1, burst: 1, maxWaiting: 2 });
  const leaving = new AbortController();
  await admission.enter(1, NEVER);
  const waiting = [admission.enter(1, leaving.signal), admission.enter(1, leaving.signal)];
  const error = await t.throwsAsync(admission.enter(1, NEVER), { code: 'overloaded' });
  t.like(error, { retryAfterMs: 2000 });
  leaving.abort(new CarnetError('unavailable', 'gone'));
  for (const one of waiting) await t.throwsAsync(one, { code: 'unavailable' });
  t.is(admission.waiting, 0);
});

test('whoever is gone while he waits takes nobody’s turn', async (t) => {
  const admission = new Admission({ perSecond: 2, burst: 1, maxWaiting: 10 });
  await admission.enter(1, NEVER);
  const gone = new AbortController();
  const left = admission.enter(1, gone.signal);
  const stays = admission.enter(2, NEVER);
  gone.abort(new CarnetError('unavailable', 'gone'));
  await t.throwsAsync(left, { code: 'unavailable' });
  await t.notThrowsAsync(stays);
  await t.throwsAsync(admission.enter(1, gone.signal), { code: 'unavailable' });
});
