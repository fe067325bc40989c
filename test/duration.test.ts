import test from 'ava';
import fc from 'fast-check';
import { formatDuration, parseDuration } from '../src/duration.ts';

for (const [text, seconds] of [
  ['0s', 0],
  ['90s', 90],
  ['15m', 900],
  ['1h', 3600],
  ['30d', 2_592_000],
  ['1y', 31_536_000],
  ['100y', 3_153_600_000],
] as const)
  test(`reads and writes ${text} as ${seconds} seconds`, (t) => {
    t.is(parseDuration(text), seconds);
    t.is(formatDuration(seconds), text);
  });

for (const text of [
  '',
  '1',
  'h',
  '1 h',
  ' 1h',
  '1h\n',
  '-1h',
  '+1h',
  '1.5h',
  '1H',
  '1w',
  '1ms',
  '1h30m',
  '0x1s',
  '١s',
  '101y',
  '9999999999s',
  '99999999999s',
])
  test(`refuses ${JSON.stringify(text)}`, (t) => {
    t.throws(() => parseDuration(text), { code: 'invalid_argument' });
  });

test('every whole number of seconds reads back from its text', (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 3_153_600_000 }), (seconds) => {
      t.is(parseDuration(formatDuration(seconds)), seconds);
    }),
  );
});
