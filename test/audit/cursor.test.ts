import test from 'ava';
import fc from 'fast-check';
import { decodeCursor, encodeCursor, timestampOf } from '../../src/audit/cursor.ts';
import { errorCodeOf } from '../../src/errors.ts';

const micros = fc.bigInt({ min: 0n, max: 253_402_300_799_999_999n });
const id = fc.bigInt({ min: 0n, max: 2n ** 63n - 1n });

test('a cursor is read as it was written, and is safe in a URL', (t) => {
  fc.assert(
    fc.property(micros, id, (recordedAtMicros, id) => {
      const text = encodeCursor({ recordedAtMicros, id });
      t.regex(text, /^[A-Za-z0-9_-]+$/);
      t.deepEqual(decodeCursor(text), { recordedAtMicros, id });
    }),
  );
});

const valid = encodeCursor({ recordedAtMicros: 1_795_403_121_775_192n, id: 42n });

for (const [what, text] of [
  ['an empty text', ''],
  ['another format', `Ag${valid.slice(2)}`],
  ['a text that is cut', valid.slice(0, -1)],
  ['a text that goes on', `${valid}AA`],
  ['another alphabet', valid.replace('A', '+')],
  ['white space', `${valid} `],
  ['a time before 1970', encodeCursor({ recordedAtMicros: -1n, id: 0n })],
  ['a time past the year 9999', encodeCursor({ recordedAtMicros: 253_402_300_800_000_000n, id: 0n })],
  ['a negative ID', encodeCursor({ recordedAtMicros: 0n, id: -1n })],
] as const)
  test(`refuses ${what} for a cursor`, (t) => {
    t.is(errorCodeOf(t.throws(() => decodeCursor(text))), 'cursor_invalid');
  });

test('arbitrary text is a cursor or cursor_invalid, nothing else', (t) => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        return encodeCursor(decodeCursor(text)) === text;
      } catch (error) {
        return errorCodeOf(error) === 'cursor_invalid';
      }
    }),
  );
  t.pass();
});

test('a timestamp has all six digits of its microseconds', (t) => {
  t.is(timestampOf(1_795_403_121_775_192n), '2026-11-23T03:05:21.775192Z');
  t.is(timestampOf(1_000_007n), '1970-01-01T00:00:01.000007Z');
});
