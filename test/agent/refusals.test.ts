import test from 'ava';
import { Refusals } from '../../src/agent/refusals.ts';
import { CarnetError } from '../../src/errors.ts';
import { createLogger } from '../../src/log.ts';

function setUp() {
  const lines: Record<string, unknown>[] = [];
  const log = createLogger('info', { write: (line) => void lines.push(JSON.parse(line)) });
  const time = { now: 1_000_000 };
  return { lines, time, refusals: new Refusals(log, () => time.now) };
}

test('counts every refusal by its reason, and logs one a second with the number of those left out', (t) => {
  const { lines, time, refusals } = setUp();
  for (let i = 0; i < 1000; i++) refusals.add(new CarnetError('overloaded', 'full'), 7);
  t.is(lines.length, 1);
  time.now += 999;
  refusals.add(new CarnetError('attestation_failed', 'gone'), 8);
  t.is(lines.length, 1);
  time.now += 1;
  refusals.add(new CarnetError('attestation_failed', 'gone'), 9);
  t.like(lines[1], { code: 'attestation_failed', uid: 9, unlogged: 1000, msg: 'refused a caller: gone' });
  t.deepEqual(
    [...refusals.counts],
    [
      ['overloaded', 1000],
      ['attestation_failed', 2],
    ],
  );
});

test('an error that is not ours is logged whole', (t) => {
  const { lines, refusals } = setUp();
  refusals.add(new TypeError('a bug'), null);
  t.like(lines[0], { level: 50, code: 'internal', uid: null });
  t.regex(JSON.stringify(lines[0]), /a bug.*refusals\.test/);
  t.is(refusals.counts.get('internal'), 1);
});
