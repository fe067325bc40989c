import test from 'ava';
import { encodeSyslogMessage, frameSyslogMessage } from '../../src/forward/syslog-message.ts';
import { eventRow, lineOf } from './records.ts';
import { parseMessage } from './syslog-reader.ts';

const ORIGIN = { host: 'node 1', pid: 42, log: 'carnet.local/log' };
const encode = (line: string): string => encodeSyslogMessage(line, ORIGIN);

test('a message is what RFC 5424 says, its line whole behind the structured data', (t) => {
  const line = lineOf(eventRow(7));
  const { header, data, message } = parseMessage(encode(line));
  t.is(header, '<109>1 2000-01-01T00:00:00.000000Z node-1 carnet 42 operator_event');
  t.like(data, { log: 'carnet.local/log', leaf_index: '7', actor: 'operator:a', action: 'entry.create' });
  t.is(message, line);
});

test('what would end a parameter early is escaped, what is not ASCII replaced; the line has all of it', (t) => {
  const subject = '"] ]\\ é\n';
  const { data, message } = parseMessage(encode(lineOf(eventRow(1, { subject }))));
  t.is(data.subject, '"] ]\\ ??');
  t.is(JSON.parse(message).subject, subject);
});

test('a frame counts its octets, and those are characters', (t) => {
  const message = encode(lineOf(eventRow(1, { subject: '😀'.repeat(20) })));
  t.is(Buffer.byteLength(message), message.length);
  t.is(frameSyslogMessage(message), `${message.length} ${message}`);
});

test('a record of more than 8,192 bytes is shortened by its long fields, and says so', (t) => {
  const long = lineOf(eventRow(9, { reason: 'x'.repeat(300), after: { text: 'é'.repeat(4000) } }));
  const encoded = encode(long);
  t.true(encoded.length <= 8192);
  const { data, message } = parseMessage(encoded);
  t.is(data.leaf_index, '9');
  const fields = JSON.parse(message);
  t.deepEqual(Object.keys(fields).slice(0, 4), ['leaf_index', 'leaf_hash', 'kind', 'recorded_at']);
  t.like(fields, { shortened: true, before: null, subject: 'web' });
  t.false('reason' in fields || 'after' in fields);
});

test('an entry whose row is gone is told as well', (t) => {
  const { data, message } = parseMessage(encode(lineOf({ ...eventRow(3), record: null })));
  t.is(data.leaf_index, '3');
  t.true(JSON.parse(message).missing);
});
