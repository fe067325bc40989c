import test from 'ava';
import fc from 'fast-check';
import { CarnetError } from '../../src/errors.ts';
import { DerReader } from '../../src/x509/der-reader.ts';
import { contextPrimitive, TAG } from '../../src/x509/der-tag.ts';
import {
  element,
  namedBits,
  objectIdentifier,
  sequence,
  unsignedInteger,
} from '../../src/x509/der-writer.ts';

function bytes(hex: string): Uint8Array {
  return Buffer.from(hex.replaceAll(' ', ''), 'hex');
}

const MALFORMED: readonly [string, string, (reader: DerReader) => unknown][] = [
  ['no element where one must be', '', (r) => r.contents(TAG.sequence)],
  ['another tag', '0400', (r) => r.contents(TAG.sequence)],
  ['a tag of two octets (X.690 §8.1.2.4)', '3f8101 00', (r) => r.skip()],
  ['a tag without a length', '30', (r) => r.contents(TAG.sequence)],
  ['an indefinite length (X.690 §10.1)', '3080 0000', (r) => r.contents(TAG.sequence)],
  ['a length in the long form below 128 (X.690 §10.1)', '04817f', (r) => r.contents(TAG.octetString)],
  ['a length with a leading zero (X.690 §10.1)', '048200ff', (r) => r.contents(TAG.octetString)],
  ['a length of four octets', '048400000001 00', (r) => r.contents(TAG.octetString)],
  ['a length that ends early', '0482ff', (r) => r.contents(TAG.octetString)],
  ['contents that end early', '040200', (r) => r.contents(TAG.octetString)],
  ['an element longer than what holds it', '3003 0402 0000', (r) => r.enter(TAG.sequence).skip()],
  ['a BOOLEAN of 01 (X.690 §11.1)', '010101', (r) => r.boolean()],
  ['a BOOLEAN of two octets', '0102ffff', (r) => r.boolean()],
  ['an INTEGER without contents', '0200', (r) => r.integer()],
  ['an INTEGER padded with 00 (X.690 §8.3.2)', '0202007f', (r) => r.integer()],
  ['an INTEGER padded with FF (X.690 §8.3.2)', '0202ff80', (r) => r.integer()],
  ['a negative INTEGER where none may be', '0201ff', (r) => r.unsigned()],
  ['an INTEGER of 2^31 where a small one must be', '02050080000000', (r) => r.smallInteger()],
  ['an INTEGER of 2^32 where a small one must be', '02050100000000', (r) => r.smallInteger()],
  ['a BIT STRING without contents', '0300', (r) => r.bitStringOctets()],
  ['a BIT STRING with unused bits where none may be', '03020780', (r) => r.bitStringOctets()],
  ['named bits without contents', '0300', (r) => r.namedBits()],
  ['named bits with trailing zero bits (X.690 §11.2.2)', '03020680', (r) => r.namedBits()],
  ['named bits with a trailing zero octet (X.690 §11.2.2)', '0303008000', (r) => r.namedBits()],
  ['named bits whose unused bits are set', '03020781', (r) => r.namedBits()],
  ['no named bits, but unused ones', '030101', (r) => r.namedBits()],
  ['eight unused bits', '03020880', (r) => r.namedBits()],
  ['more named bits than any list has', '030400000001', (r) => r.namedBits()],
  ['an OBJECT IDENTIFIER without contents', '0600', (r) => r.objectIdentifier()],
  ['an OBJECT IDENTIFIER that ends within an arc', '06022a86', (r) => r.objectIdentifier()],
  ['an OBJECT IDENTIFIER with a padded arc (X.690 §8.19.2)', '06032a8001', (r) => r.objectIdentifier()],
  ['an OBJECT IDENTIFIER with an arc of 2^63', '060b2a 81808080808080808000', (r) => r.objectIdentifier()],
  ['a NULL with contents', '050100', (r) => r.null()],
];

for (const [what, hex, read] of MALFORMED)
  test(`refuses ${what}`, (t) => {
    t.like(
      t.throws(() => read(new DerReader(bytes(hex))), { instanceOf: CarnetError }),
      {
        code: 'der_malformed',
      },
    );
  });

test('refuses something behind the last element', (t) => {
  const reader = new DerReader(bytes('0400 0400'));
  reader.skip();
  t.like(
    t.throws(() => reader.end()),
    { code: 'der_malformed' },
  );
});

test('reads no further than its end, whatever lies behind', (t) => {
  const reader = new DerReader(bytes('0402aabb'), 0, 3);
  t.throws(() => reader.contents(TAG.octetString), { instanceOf: CarnetError });
  t.false(new DerReader(bytes('04'), 1).nextIs(TAG.octetString));
  t.throws(() => new DerReader(bytes('0400'), 0, 0).skip(), { instanceOf: CarnetError });
});

test('an element of any length comes back as it was written (X.690 §10.1)', (t) => {
  for (const length of [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff, 0x10000]) {
    const contents = new Uint8Array(length).fill(7);
    const reader = new DerReader(sequence(element(contextPrimitive(1), contents))).enter(TAG.sequence);
    t.deepEqual(reader.contents(contextPrimitive(1)), contents);
    t.true(reader.done);
  }
});

test('an INTEGER comes back without its padding (X.690 §8.3)', (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (magnitude) => {
      const written = unsignedInteger(magnitude);
      const shortest = magnitude.subarray(magnitude.findIndex((octet) => octet !== 0) >>> 0);
      return Buffer.from(new DerReader(written).unsigned()).equals(shortest);
    }),
  );
  t.deepEqual(Buffer.from(unsignedInteger(new Uint8Array(3))).toString('hex'), '020100');
  t.is(new DerReader(bytes('02047fffffff')).smallInteger(), 2 ** 31 - 1);
});

test('an OBJECT IDENTIFIER comes back as it was written (X.690 §8.19)', (t) => {
  const arcs = fc.array(fc.nat({ max: 2 ** 31 - 1 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(fc.nat({ max: 2 }), fc.nat({ max: 39 }), arcs, (first, second, rest) => {
      const dotted = [first, second, ...rest].join('.');
      return new DerReader(objectIdentifier(dotted)).objectIdentifier() === dotted;
    }),
  );
  t.is(new DerReader(objectIdentifier('2.999.3')).objectIdentifier(), '2.999.3');
  t.is(Buffer.from(objectIdentifier('1.2.840.113549')).toString('hex'), '06062a864886f70d');
  for (const text of ['', '1', '1.2', '3.1.1', '1.2.x', '1.2.03'])
    t.like(
      t.throws(() => objectIdentifier(text)),
      { code: 'invalid_argument' },
    );
});

test('named bits come back as they were written (X.690 §11.2.2)', (t) => {
  for (let bits = 0; bits < 1 << 9; bits++) t.is(new DerReader(namedBits(bits)).namedBits(), bits);
  t.is(Buffer.from(namedBits(0b1100000)).toString('hex'), '03020106');
});

test('never throws anything but der_malformed, and never reads past the end, whatever the bytes', (t) => {
  const readers: readonly ((reader: DerReader) => unknown)[] = [
    (r) => r.skip(),
    (r) => r.enter(TAG.sequence).skip(),
    (r) => r.boolean(),
    (r) => r.integer(),
    (r) => r.smallInteger(),
    (r) => r.bitStringOctets(),
    (r) => r.namedBits(),
    (r) => r.objectIdentifier(),
  ];
  const tags = fc.constantFrom(TAG.boolean, TAG.integer, TAG.bitString, TAG.objectIdentifier, TAG.sequence);
  fc.assert(
    fc.property(tags, fc.uint8Array({ maxLength: 24 }), (tag, rest) => {
      const input = Uint8Array.of(tag, ...rest);
      for (const read of readers)
        try {
          read(new DerReader(input));
        } catch (error) {
          if (!(error instanceof CarnetError && error.code === 'der_malformed')) throw error;
        }
    }),
    { numRuns: 2000 },
  );
  t.pass();
});
