import type { Position } from '../audit/cursor.ts';
import type { IssuanceFilter } from '../audit/query.ts';

/** A stretch of history by time of recording: `from` is inclusive, `before` exclusive; null is no end. */
export interface Span {
  readonly from: Date | null;
  readonly before: Date | null;
  /** What else is true of all that is looked for in it, and lets an index of few rows be used (migration 0015). */
  readonly condition: string | null;
}

const HOUR = 3_600_000;
/** As migration 0015 has them: of a certificate that ends later after its recording, or began earlier before it. */
const LONG_HOURS = 25;
const UNUSUAL_HOURS = 32 * 24;
const EARLY_HOURS = 2;
/** So many months at a time, further and further back; then all that is left. */
const MONTHS = [2, 9];

/**
 * Where to look for what fits, newest first, so that one who finds a page's worth looks no further back. A stretch is of
 * whole partitions (months, UTC) where it can be: PostgreSQL plans for no more of them than it must, and a rare
 * combination of filters is not looked for in all of history while the newest month has a page of it. `now` is where to
 * begin, in milliseconds since the epoch; what is recorded later is in the first stretch.
 */
export function* spansOf(filter: IssuanceFilter, cursor: Position | null, now: number): Generator<Span> {
  // The cursor's own condition is exact; here it leaves out what is newer.
  const after = cursor === null ? null : new Date(Number(cursor.recordedAtMicros / 1000n) + 1);
  const window = { from: filter.from ?? null, before: earlier(filter.to ?? null, after) };
  const at = filter.validAt ?? filter.unexpiredAt;
  const spans =
    at !== undefined ? validityRanges(at.getTime()) : isOfFew(filter) ? [ALL] : monthsBack(window, now);
  for (const span of spans) {
    const cut = intersect(span, window);
    if (cut !== null) yield cut;
  }
}

const ALL: Span = { from: null, before: null, condition: null };

/** Then all of history is asked at once. */
function isOfFew({ serial, fingerprint, revoked }: IssuanceFilter): boolean {
  return serial !== undefined || fingerprint !== undefined || revoked === true;
}

/**
 * What is valid at a time was recorded not long before: leaves live for hours. Those that live for days, the CAs, and what
 * was recorded long after it began (a CA that another signed) have indexes of their own.
 */
function* validityRanges(at: number): Generator<Span> {
  const date = (hours: number): Date => new Date(at + hours * HOUR);
  yield {
    from: date(EARLY_HOURS),
    before: null,
    condition: sinceAtLeast('recorded_at', 'not_before', EARLY_HOURS),
  };
  yield { from: date(-LONG_HOURS), before: date(EARLY_HOURS), condition: null };
  yield {
    from: date(-UNUSUAL_HOURS),
    before: date(-LONG_HOURS),
    condition: sinceAtLeast('not_after', 'recorded_at', LONG_HOURS),
  };
  yield {
    from: null,
    before: date(-UNUSUAL_HOURS),
    condition: sinceAtLeast('not_after', 'recorded_at', UNUSUAL_HOURS),
  };
}

function sinceAtLeast(later: string, earlier: string, hours: number): string {
  return `issuance.${later} - issuance.${earlier} >= interval '${hours} hours'`;
}

function* monthsBack(window: Pick<Span, 'from' | 'before'>, now: number): Generator<Span> {
  const latest = new Date(Math.min(window.before?.getTime() ?? now, now));
  let [year, month] = [latest.getUTCFullYear(), latest.getUTCMonth()];
  let before: Date | null = null;
  for (const months of [0, ...MONTHS]) {
    month -= months;
    const from = new Date(Date.UTC(year, month));
    yield { from, before, condition: null };
    if (window.from !== null && from <= window.from) return;
    [year, month, before] = [from.getUTCFullYear(), from.getUTCMonth(), from];
  }
  yield { from: null, before, condition: null };
}

/** The newer half first. What has no end is taken for a month, and what has no beginning for four years. */
export function halvesOf(span: Span): Span[] {
  const from = span.from?.getTime() ?? (span.before?.getTime() ?? 0) - 4 * 365 * 24 * HOUR;
  const before = span.before?.getTime() ?? from + 31 * 24 * HOUR;
  const middle = new Date((from + before) / 2);
  return [
    { ...span, from: middle },
    { ...span, before: middle },
  ];
}

function intersect(span: Span, window: Pick<Span, 'from' | 'before'>): Span | null {
  const from = later(span.from, window.from);
  const before = earlier(span.before, window.before);
  return from !== null && before !== null && from >= before ? null : { ...span, from, before };
}

function later(a: Date | null, b: Date | null): Date | null {
  return a === null || (b !== null && b > a) ? b : a;
}

function earlier(a: Date | null, b: Date | null): Date | null {
  return a === null || (b !== null && b < a) ? b : a;
}
