import test from 'ava';
import fc from 'fast-check';
import { CarnetError } from '../../src/errors.ts';
import { DerReader } from '../../src/x509/der-reader.ts';
import { TAG } from '../../src/x509/der-tag.ts';
import { asciiString } from '../../src/x509/der-writer.ts';
import { encodeTime, readTime } from '../../src/x509/time.ts';

const WRITTEN: readonly [string, number, string][] = [
  ['1950-01-01T00:00:00Z', TAG.utcTime, '500101000000Z'],
  ['1999-12-31T23:59:59Z', TAG.utcTime, '991231235959Z'],
  ['2000-02-29T01:02:03Z', TAG.utcTime, '000229010203Z'],
  ['2049-12-31T23:59:59Z', TAG.utcTime, '491231235959Z'],
  ['2050-01-01T00:00:00Z', TAG.generalizedTime, '20500101000000Z'],
  ['9999-12-31T23:59:59Z', TAG.generalizedTime, '99991231235959Z'],
];

for (const [iso, tag, text] of WRITTEN)
  test(`${iso} is written as ${text} (RFC 5280 §4.1.2.5)`, (t) => {
    const der = encodeTime(new Date(iso));
    t.deepEqual(der, asciiString(tag, text));
    t.deepEqual(readTime(new DerReader(der)), new Date(iso));
  });

const MALFORMED: readonly [string, number, string][] = [
  ['no seconds', TAG.utcTime, '2601010000Z'],
  ['no Z', TAG.utcTime, '260101000000'],
  ['an offset', TAG.utcTime, '260101000000+0000'],
  ['a fraction', TAG.generalizedTime, '20500101000000.5Z'],
  ['a letter among the digits', TAG.utcTime, '2601010000o0Z'],
  ['a sign among the digits', TAG.utcTime, '26-101000000Z'],
  ['a 13th month', TAG.utcTime, '261301000000Z'],
  ['a month 0', TAG.utcTime, '260001000000Z'],
  ['30 February', TAG.utcTime, '260230000000Z'],
  ['29 February of a common year', TAG.utcTime, '270229000000Z'],
  ['24 hours', TAG.utcTime, '260101240000Z'],
  ['60 minutes', TAG.utcTime, '260101006000Z'],
  ['60 seconds', TAG.utcTime, '260101000060Z'],
  ['GeneralizedTime before 2050 (RFC 5280 §4.1.2.5)', TAG.generalizedTime, '20491231235959Z'],
  ['GeneralizedTime in the first century', TAG.generalizedTime, '00500101000000Z'],
  ['UTCTime with four digits of a year', TAG.utcTime, '20260101000000Z'],
  ['another type', TAG.printableString, '260101000000Z'],
];

for (const [what, tag, text] of MALFORMED)
  test(`refuses a Time with ${what}`, (t) => {
    t.like(
      t.throws(() => readTime(new DerReader(asciiString(tag, text))), { instanceOf: CarnetError }),
      {
        code: 'der_malformed',
      },
    );
  });

test('every second comes back as it was written, without its fraction', (t) => {
  const seconds = fc.date({ min: new Date('1950-01-01'), max: new Date('9999-12-31'), noInvalidDate: true });
  fc.assert(
    fc.property(seconds, (date) => {
      const whole = Math.floor(date.getTime() / 1000) * 1000;
      return readTime(new DerReader(encodeTime(date))).getTime() === whole;
    }),
  );
  t.pass();
});

test('a year that no certificate can name is refused', (t) => {
  for (const date of [new Date('1949-12-31T23:59:59Z'), new Date(8.64e15), new Date(Number.NaN)])
    t.like(
      t.throws(() => encodeTime(date)),
      { code: 'invalid_argument' },
    );
});
