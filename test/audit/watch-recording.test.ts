import test from 'ava';
import { RecordingWatch } from '../../src/audit/watch-recording.ts';
import { CarnetError } from '../../src/errors.ts';

/** A watch over commits whose outcome, and the time, are the test's. */
function watched() {
  const around: { outcome: Error | null; now: number } = { outcome: null, now: 0 };
  const watch = new RecordingWatch(
    async () => {
      if (around.outcome !== null) throw around.outcome;
    },
    () => around.now,
  );
  const commit = (outcome: Error | null) => {
    around.outcome = outcome;
    return watch.insert([]);
  };
  return { around, watch, commit };
}

const FULL = new CarnetError('database_unavailable', 'no space left on device');

test('a commit that failed is a problem until one succeeds, and is passed on as it is', async (t) => {
  const { watch, commit } = watched();
  t.is(watch.problem, null);
  t.is(await t.throwsAsync(commit(FULL)), FULL);
  t.is(watch.problem, FULL.message);
  await commit(null);
  t.is(watch.problem, null);
});

test('a row that the database refuses is no problem, and hides none', async (t) => {
  const { watch, commit } = watched();
  const refused = new CarnetError('invalid_argument', 'a value out of range');
  await t.throwsAsync(commit(refused));
  t.is(watch.problem, null);
  await t.throwsAsync(commit(FULL));
  await t.throwsAsync(commit(refused));
  t.is(watch.problem, FULL.message);
});

test('a failure that nobody repeats is over after a minute', async (t) => {
  const { around, watch, commit } = watched();
  await t.throwsAsync(commit(FULL));
  around.now = 60_000;
  t.is(watch.problem, FULL.message);
  around.now = 60_001;
  t.is(watch.problem, null);
});
