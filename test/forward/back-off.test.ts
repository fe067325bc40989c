import test from 'ava';
import { pauseMs, retryAfterMs } from '../../src/forward/back-off.ts';

test('pauses grow from a quarter of a second to a minute, each spread over half of its bound', (t) => {
  t.deepEqual([pauseMs(1, null, 0), pauseMs(1, null, 0.5)], [250, 375]);
  t.deepEqual([pauseMs(5, null, 0), pauseMs(1000, null, 0), pauseMs(1000, null, 1)], [4000, 30_000, 60_000]);
});

test('a receiver that asks for time gets it, five minutes at most', (t) => {
  t.is(pauseMs(1, 20_000, 0), 20_000);
  t.is(pauseMs(1, 86_400_000, 0), 300_000);
  t.is(pauseMs(10, 1, 0), 30_000);
});

test('Retry-After is seconds or a date, and nothing else', (t) => {
  const now = Date.parse('2026-03-01T00:00:00Z');
  t.is(retryAfterMs('7', now), 7000);
  t.is(retryAfterMs('Sun, 01 Mar 2026 00:00:09 GMT', now), 9000);
  t.is(retryAfterMs('Sat, 28 Feb 2026 00:00:00 GMT', now), 0);
  for (const value of [undefined, '', 'soon', '-1.5x']) t.is(retryAfterMs(value, now), null, String(value));
});
