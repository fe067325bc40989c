import test from 'ava';
import fc from 'fast-check';
import { encodeEntryBundle, MAX_ENTRY_BYTES } from '../../../src/audit/log/entry-bundle.ts';
import { formatTilePath, parseTilePath, tilesOf } from '../../../src/audit/log/tile-path.ts';
import { errorCodeOf } from '../../../src/errors.ts';

for (const [text, tile] of [
  ['0/000', { level: 0, index: 0, width: 256 }],
  ['0/x001/x234/067', { level: 0, index: 1234067, width: 256 }],
  ['1/999.p/7', { level: 1, index: 999, width: 7 }],
  ['7/x001/000.p/255', { level: 7, index: 1000, width: 255 }],
  ['entries/x001/067.p/1', { level: 'entries', index: 1067, width: 1 }],
] as const)
  test(`${text} is one tile, and its only name (C2SP tlog-tiles)`, (t) => {
    t.deepEqual(parseTilePath(text), tile);
    t.is(formatTilePath(tile), text);
  });

for (const text of [
  '',
  '0',
  '0/',
  '0/0',
  '0/0000',
  '00/000',
  '8/000',
  '-1/000',
  '0/x000/001',
  '0/001/002',
  '0/x001',
  '0/000.p/0',
  '0/000.p/256',
  '0/000.p/01',
  '0/000.p',
  '0/000/',
  'data/000',
  'entries/..',
  '0/x001/x001/x001/x001/x001/001',
])
  test(`${JSON.stringify(text)} names no tile`, (t) => {
    t.is(errorCodeOf(t.throws(() => parseTilePath(text))), 'not_found');
  });

test('every tile is read as it is written', (t) => {
  const tile = fc.record({
    level: fc.oneof(fc.integer({ min: 0, max: 7 }), fc.constant('entries' as const)),
    index: fc.nat({ max: 999_999_999_999 }),
    width: fc.integer({ min: 1, max: 256 }),
  });
  fc.assert(fc.property(tile, (given) => t.deepEqual(parseTilePath(formatTilePath(given)), given)));
});

test('a tree has one tile for each 256 hashes of a level, the last one partial', (t) => {
  t.deepEqual(tilesOf(0), []);
  t.deepEqual(tilesOf(70_000).slice(-3), [
    { level: 1, index: 0, width: 256 },
    { level: 1, index: 1, width: 17 },
    { level: 2, index: 0, width: 1 },
  ]);
  t.is(tilesOf(70_000).length, 274 + 2 + 1);
});

test('a bundle has each entry after its length, and none that is too long for it', (t) => {
  t.is(Buffer.from(encodeEntryBundle([Buffer.from('ab'), Buffer.from('')])).toString('hex'), '000261620000');
  const long = new Uint8Array(MAX_ENTRY_BYTES);
  t.is(encodeEntryBundle([long]).length, MAX_ENTRY_BYTES + 2);
  t.is(errorCodeOf(t.throws(() => encodeEntryBundle([new Uint8Array(MAX_ENTRY_BYTES + 1)]))), 'too_large');
});
