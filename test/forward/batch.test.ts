import test from 'ava';
import { cutBatch } from '../../src/forward/batch.ts';
import { eventRow, lineOf } from './records.ts';

test('a batch holds what fits, in order, and one line at least', (t) => {
  const rows = [eventRow(5), eventRow(6), eventRow(7)] as const;
  const { first, end, lines } = cutBatch([...rows]);
  t.deepEqual([first, end], [5, 8]);
  t.is(cutBatch([...rows], ((lines[0]?.length ?? 0) + 1) * 2).end, 7);
  t.is(cutBatch([...rows], 1).end, 6);
});

test('a line is ASCII, on one line, and says the same again when it is parsed', (t) => {
  const subject = 'wéb\n\u0085\u2028😀';
  const line = lineOf(eventRow(7, { subject, after: { a: 1 } }));
  t.regex(line, /^[\x20-\x7e]+$/);
  t.like(JSON.parse(line), { leaf_index: 7, kind: 'operator_event', subject, before: null, after: { a: 1 } });
});

test('of a row that is gone, or is not what was logged, the entry is told and nothing else', (t) => {
  const row = eventRow(7, { subject: 'true' });
  const entry = {
    leaf_index: 7,
    leaf_hash: Buffer.from(row.leafHash).toString('hex'),
    kind: 'operator_event',
  };
  t.deepEqual(JSON.parse(lineOf({ ...row, record: null })), { ...entry, missing: true });
  t.deepEqual(JSON.parse(lineOf({ ...row, record: null, retired: true })), { ...entry, retired: true });
  const { record } = eventRow(7, { subject: 'false' });
  t.deepEqual(JSON.parse(lineOf({ ...row, record })), { ...entry, altered: true });
});
