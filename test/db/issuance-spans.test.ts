import test from 'ava';
import fc from 'fast-check';
import { halvesOf, type Span, spansOf } from '../../src/db/issuance-spans.ts';

const NOW = Date.parse('2026-03-10T12:00:00Z');
const time = fc.date({ min: new Date('2015-01-01'), max: new Date('2035-01-01'), noInvalidDate: true });

function text({ from, before }: Span): string {
  return `${from?.toISOString().slice(0, 10) ?? ''}..${before?.toISOString().slice(0, 10) ?? ''}`;
}

test('a search begins with this month and what comes after, and goes back in ever longer stretches of months', (t) => {
  t.deepEqual([...spansOf({}, null, NOW)].map(text), [
    '2026-03-01..',
    '2026-01-01..2026-03-01',
    '2025-04-01..2026-01-01',
    '..2025-04-01',
  ]);
});

test('one that is to end earlier begins there, and ends where it is to begin', (t) => {
  const filter = { from: new Date('2025-06-15T00:00:00Z'), to: new Date('2025-07-02T00:00:00Z') };
  t.deepEqual([...spansOf(filter, null, NOW)].map(text), [
    '2025-07-01..2025-07-02',
    '2025-06-15..2025-07-01',
  ]);
  t.deepEqual([...spansOf({ from: filter.to, to: filter.from }, null, NOW)], []);
});

test('stretches leave out nothing, have nothing twice, and come newest first', (t) => {
  fc.assert(
    fc.property(fc.option(time), fc.option(time), fc.option(time), time, (from, to, after, moment) => {
      const filter = { ...(from && { from }), ...(to && { to }) };
      const cursor = after && { recordedAtMicros: BigInt(after.getTime()) * 1000n + 999n, id: 1n };
      const spans = [...spansOf(filter, cursor, NOW)];
      const within = (span: Span): boolean =>
        (span.from === null || moment >= span.from) && (span.before === null || moment < span.before);
      const wanted =
        (from === null || moment >= from) &&
        (to === null || moment < to) &&
        (after === null || moment.getTime() <= after.getTime());
      for (const [i, { before }] of spans.entries()) if (i > 0) t.deepEqual(before, spans[i - 1]?.from);
      return spans.filter(within).length === (wanted ? 1 : 0);
    }),
  );
});

test('what is valid at a time is looked for near it, and the long-lived further back', (t) => {
  const spans = [...spansOf({ validAt: new Date(NOW) }, null, NOW + 365 * 86_400_000)];
  t.deepEqual(
    spans.map((span) => [text(span), span.condition?.match(/\d+ hours/)?.[0] ?? null]),
    [
      ['2026-03-10..', '2 hours'],
      ['2026-03-09..2026-03-10', null],
      ['2026-02-06..2026-03-09', '25 hours'],
      ['..2026-02-06', '768 hours'],
    ],
  );
});

test('a stretch is halved in time, the newer half first', (t) => {
  const span = { from: new Date('2026-03-01'), before: new Date('2026-03-03'), condition: null };
  t.deepEqual(halvesOf(span).map(text), ['2026-03-02..2026-03-03', '2026-03-01..2026-03-02']);
  t.deepEqual(halvesOf({ ...span, before: null }).map(text), ['2026-03-16..', '2026-03-01..2026-03-16']);
  t.deepEqual(halvesOf({ ...span, from: null }).map(text), ['2024-03-03..2026-03-03', '..2024-03-03']);
});
