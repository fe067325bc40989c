import test from 'ava';
import { type LoggedRecord, lineWriter, readFullLine } from '../../src/audit/export-line.ts';
import { ExportLines } from '../../src/audit/export-lines.ts';
import { encodeEntry } from '../../src/audit/log/entry.ts';
import { leafHashOf } from '../../src/audit/log/merkle.ts';

/** record_send of an operator event. */
function eventRecord(fields: { subject?: string; reason?: string; after?: string | null } = {}): Buffer {
  const int8 = Buffer.alloc(8, 0);
  const columns = [
    int8,
    int8,
    int8,
    Buffer.from('operator:eve'),
    Buffer.from('entry.create'),
    Buffer.from(fields.subject ?? 'web'),
    null,
    fields.after === null ? null : Buffer.from(fields.after ?? '{"a": 1}'),
    Buffer.from(fields.reason ?? ''),
  ];
  const int4 = (value: number): Buffer => {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32BE(value);
    return bytes;
  };
  const values = columns.flatMap((value) => [int4(25), int4(value?.length ?? -1), value ?? Buffer.alloc(0)]);
  return Buffer.concat([int4(columns.length), ...values]);
}

function loggedOf(index: number, record: Buffer): LoggedRecord {
  return {
    index,
    kind: 'operator_event',
    record,
    leafHash: leafHashOf(encodeEntry('operator_event', record)),
  };
}

const leafHash = Buffer.alloc(32, 7);
const HASH = '07'.repeat(32);
const HEADER = 'leaf_index,leaf_hash,kind,recorded_at,actor,action,subject,before,after,reason';

test('NDJSON has the fields of the REST interface, with the place in the log', (t) => {
  const { header, line } = lineWriter(['operator_event'], { format: 'ndjson', full: false });
  t.is(header, '');
  t.deepEqual(JSON.parse(line({ index: 7, kind: 'operator_event', record: eventRecord(), leafHash })), {
    leaf_index: 7,
    leaf_hash: HASH,
    kind: 'operator_event',
    recorded_at: '2000-01-01T00:00:00.000000Z',
    actor: 'operator:eve',
    action: 'entry.create',
    subject: 'web',
    before: null,
    after: { a: 1 },
    reason: '',
  });
});

for (const [what, reason, cell] of [
  ['a comma', 'a,b', '"a,b"'],
  ['quotes', 'say "no"', '"say ""no"""'],
  ['a line end', 'a\r\nb', '"a\r\nb"'],
  ['a formula (=)', '=1+1', "'=1+1"],
  ['a formula (+)', '+1', "'+1"],
  ['a formula (-)', '-1', "'-1"],
  ['a formula (@)', '@SUM(1,2)', `"'@SUM(1,2)"`],
  ['a tab before a formula', '\t=1', `"'\t=1"`],
  ['a line end before a formula', '\n=1', `"'\n=1"`],
  ['a formula by a wide sign', '\uff1d1+1', "'\uff1d1+1"],
  ['a formula behind a semicolon', 'a;=1+1', '"a;=1+1"'],
  ['nothing of the kind', 'it = so', 'it = so'],
] as const)
  test(`a CSV cell with ${what} is as RFC 4180 and a spreadsheet want it`, (t) => {
    const { header, line } = lineWriter(['operator_event'], { format: 'csv', full: false });
    t.is(header, `${HEADER}\r\n`);
    const text = line({
      index: 0,
      kind: 'operator_event',
      record: eventRecord({ reason, after: null }),
      leafHash,
    });
    t.is(
      text,
      `0,${HASH},operator_event,2000-01-01T00:00:00.000000Z,operator:eve,entry.create,web,,,${cell}\r\n`,
    );
  });

test('a CSV of all kinds has one header for them all', (t) => {
  const { header, line } = lineWriter(['issuance', 'revocation', 'operator_event'], {
    format: 'csv',
    full: true,
  });
  t.true(header.startsWith('leaf_index,leaf_hash,kind,recorded_at,serial,identity,'));
  t.true(header.endsWith(',certificate,token,evidence,record\r\n'));
  const columns = header.split(',').length;
  const text = line({ index: 0, kind: 'operator_event', record: eventRecord({ after: null }), leafHash });
  t.is(text.split(',').length, columns);
});

for (const format of ['ndjson', 'csv'] as const)
  test(`a full line in ${format} is read back to its record, and is cut off anywhere without harm`, (t) => {
    const writer = lineWriter(['operator_event'], { format, full: true });
    const records = ['plain', 'a "quoted"\n1,2', '\r\n7,'].map((reason) => eventRecord({ reason }));
    const texts = records.map((record, i) => writer.line(loggedOf(i + 3, record)));
    for (const [i, record] of records.entries())
      t.deepEqual(readFullLine(texts[i] ?? '', format), loggedOf(i + 3, record));
    const whole = Buffer.from(writer.header + texts.join(''));
    const ends = [writer.header, ...texts].map((_, i, all) =>
      Buffer.byteLength(all.slice(0, i + 1).join('')),
    );
    for (let cut = 0; cut <= whole.length; cut++) {
      const lines = new ExportLines(format);
      lines.push(whole.subarray(0, cut));
      const complete = ends.filter((end) => end <= cut).length - 1;
      t.is(lines.count, Math.max(0, complete));
      t.is(lines.lastIndex, complete > 0 ? complete + 2 : null);
      lines.push(whole.subarray(cut));
      t.deepEqual([lines.count, lines.bytes, lines.isWhole], [3, whole.length, true]);
    }
  });

test('what is no full line is none', (t) => {
  for (const text of [
    '',
    '{}',
    '{"leaf_index":1,"kind":"issuance"}\n',
    '{"leaf_index":1,"kind":"x","record":"AA=="}\n',
  ])
    t.is(readFullLine(text, 'ndjson'), null, text);
  for (const text of [
    '',
    `1,${HASH},issuance\r\n`,
    `1,${HASH},none,x,AA==\r\n`,
    `1,${HASH},issuance,x,AA==\n`,
  ])
    t.is(readFullLine(text, 'csv'), null, text);
});
