import test from 'ava';
import { cutBatch } from '../../src/forward/batch.ts';
import { eventRecord } from './records.ts';

test('a batch holds what fits, in order, and one record at least', (t) => {
  const records = [eventRecord(5), eventRecord(6), eventRecord(7)] as const;
  const whole = cutBatch([...records]);
  t.deepEqual([whole.first, whole.end], [5, 8]);
  const [line] = whole.items.map(({ line }) => line.length + 1);
  t.is(cutBatch([...records], (line ?? 0) * 2).end, 7);
  t.is(cutBatch([...records], 1).end, 6);
});
