import test from 'ava';
import { parseWhen, relativeTime, shortTime } from '../../src/cli/times.ts';
import { NOW } from '../api/harness.ts';

for (const [text, expected] of [
  ['2026-03-01', '2026-03-01T00:00:00Z'],
  ['2026-03-01T12:00:00Z', '2026-03-01T12:00:00Z'],
  ['2026-03-01T12:00:00+02:00', '2026-03-01T12:00:00+02:00'],
  ['24h', '2026-03-09T12:00:00.000Z'],
  ['90s', '2026-03-10T11:58:30.000Z'],
] as const)
  test(`${text} is the time ${expected}`, (t) => {
    t.is(parseWhen('--from', text, NOW), expected);
  });

for (const text of ['', 'yesterday', '2026-13-01', '2026-03-01T12:00:00', '12', '-1h', '1 h'])
  test(`${JSON.stringify(text)} is no time`, (t) => {
    t.throws(() => parseWhen('--from', text, NOW), { code: 'config_invalid', message: /^--from / });
  });

for (const [seconds, expected] of [
  [0, 'now'],
  [59, 'in 59s'],
  [-119, '119s ago'],
  [120, 'in 2m'],
  [7199, 'in 119m'],
  [7200, 'in 2h'],
  [-47 * 3600, '47h ago'],
  [48 * 3600, 'in 2d'],
] as const)
  test(`${seconds} s from now is told as "${expected}"`, (t) => {
    t.is(relativeTime(new Date(NOW + seconds * 1000).toISOString(), NOW), expected);
  });

test('a time is shown to the second, in UTC', (t) => {
  t.is(shortTime('2026-03-10T12:00:00.123456Z'), '2026-03-10 12:00:00Z');
});
