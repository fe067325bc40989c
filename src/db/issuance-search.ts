import type { Position } from '../audit/cursor.ts';
import type { IssuanceFilter } from '../audit/query.ts';
import { Conditions } from './conditions.ts';
import type { Queryable } from './database.ts';
import {
  addFilter,
  addPrefix,
  addWholeFilter,
  alternativesOf,
  isNarrow,
  rowsWhere,
} from './issuance-filter.ts';
import { ISSUANCE_COLUMNS, type IssuanceRow } from './issuance-rows.ts';
import { halvesOf, type Span } from './issuance-spans.ts';

/**
 * Of a prefix: how many rows of one stretch are put in the order of time as a whole; and, where the newest don't help,
 * then.
 */
const GATHER_FIRST = 6_000;
const GATHER_ROWS = 20_000;
/** Of a prefix that more have: how many of the newest rows are looked through. */
const LOOK_ROWS = 8_000;

/** Of those that an index of few rows has in one stretch: how many are looked through, whatever else is asked. */
const FEW_ODD = 2_000;

/** What is looked for where: the newest `count` in one stretch that fit, from the cursor on. */
export interface Portion {
  readonly filter: IssuanceFilter;
  readonly span: Span;
  readonly cursor: Position | null;
  readonly count: number;
  /** Throws once the search has taken too long; each statement has a bound of its own. */
  readonly checkTime: () => void;
}

interface Statement {
  readonly text: string;
  readonly values: readonly unknown[];
}

/** Statements are never prepared: their plans depend on the values, and cost little beside them. */
export async function searchSpan(database: Queryable, portion: Portion): Promise<IssuanceRow[]> {
  const { filter } = portion;
  if (portion.span.condition !== null) {
    const few = await gather(database, portion, oddStatement(portion, FEW_ODD), FEW_ODD);
    if (few !== null) return few;
  }
  if (filter.identityPrefix !== undefined && !isNarrow(filter)) return searchPrefix(database, portion);
  const { text, values } = spanStatement(portion);
  return database.query<IssuanceRow>(text, values);
}

/**
 * One index serves any one filter in the order of the page (migrations 0001, 0015); where it takes two, what they find is
 * merged.
 */
function spanStatement(portion: Portion): Statement {
  const { filter, count } = portion;
  const conditions = conditionsOf(portion);
  if (filter.identityPrefix !== undefined) addPrefix(conditions, filter.identityPrefix);
  const parts = alternativesOf(filter, conditions).map(
    (where) =>
      `SELECT ${ISSUANCE_COLUMNS}, issuance.recorded_at FROM ${rowsWhere(filter, where)} LIMIT ${count}`,
  );
  return { text: merged(parts, count), values: conditions.values };
}

function merged(parts: readonly string[], count: number): string {
  const [only = '', ...others] = parts;
  if (others.length === 0) return only;
  const all = parts.map((part) => `(${part})`).join(' UNION ALL ');
  return `SELECT * FROM (${all}) AS found ORDER BY recorded_at DESC, id DESC LIMIT ${count}`;
}

/**
 * The identities of a prefix each have their order of time in the index, and together none. Of a prefix that few have, all
 * of a stretch are put in order; one that many have is met soon among the newest. Where it is neither, the stretch is
 * halved.
 */
async function searchPrefix(database: Queryable, portion: Portion): Promise<IssuanceRow[]> {
  portion.checkTime();
  const few = await gather(database, portion, prefixStatement(portion, GATHER_FIRST), GATHER_FIRST);
  if (few !== null) return few;
  const look = lookStatement(portion);
  const met = await database.query<IssuanceRow>(look.text, look.values);
  if (met.length === portion.count) return met;
  const more = await gather(database, portion, prefixStatement(portion, GATHER_ROWS), GATHER_ROWS);
  if (more !== null) return more;
  const found: IssuanceRow[] = [];
  for (const span of halvesOf(portion.span)) {
    found.push(...(await searchPrefix(database, { ...portion, span, count: portion.count - found.length })));
    if (found.length === portion.count) break;
  }
  return found;
}

function lookStatement(portion: Portion): Statement {
  const looked = conditionsOf({ ...portion, filter: {} });
  const newest = `SELECT * FROM issuance ${looked.where()} ORDER BY recorded_at DESC, id DESC LIMIT ${LOOK_ROWS}`;
  const conditions = new Conditions(looked.values);
  addFilter(conditions, portion.filter);
  addPrefix(conditions, portion.filter.identityPrefix ?? '');
  return {
    text: `SELECT ${ISSUANCE_COLUMNS} FROM (${newest}) AS issuance ${conditions.where()}
      ORDER BY recorded_at DESC, id DESC LIMIT ${portion.count}`,
    values: conditions.values,
  };
}

/** Of one row, as it is found again. */
interface Place {
  /** To the microsecond. */
  readonly at: string;
  readonly id: string;
}

/** What of the places that are gathered fits all of the filter; null where there are more than `limit` in the stretch. */
async function gather(
  database: Queryable,
  portion: Portion,
  { text, values }: Statement,
  limit: number,
): Promise<IssuanceRow[] | null> {
  const found = await database.query<{ gathered: string } & (Place | { id: null })>(text, values);
  if (Number(found[0]?.gathered) > limit) return null;
  const places = found.filter((place) => place.id !== null);
  return places.length === 0 ? [] : rowsAt(database, portion, places);
}

/** The first and the last place, too, so that only their partitions are planned for; and one by one (OFFSET). */
function rowsAt(database: Queryable, portion: Portion, places: readonly Place[]): Promise<IssuanceRow[]> {
  const conditions = new Conditions([places.map(({ at }) => at), places.map(({ id }) => id)]);
  const newest = conditions.bind('recorded_at <= ?', places[0]?.at);
  const oldest = conditions.bind('recorded_at >= ?', places.at(-1)?.at);
  addWholeFilter(conditions, portion.filter);
  const { values } = conditions;
  return database.query<IssuanceRow>(
    `SELECT ${ISSUANCE_COLUMNS} FROM unnest($1::timestamptz[], $2::bigint[]) AS place (recorded_at, id)
     CROSS JOIN LATERAL (SELECT * FROM issuance WHERE issuance.recorded_at = place.recorded_at AND issuance.id = place.id
       AND ${newest} AND ${oldest} OFFSET 0) AS issuance ${conditions.where()}
     ORDER BY issuance.recorded_at DESC, issuance.id DESC LIMIT ${portion.count}`,
    values,
  );
}

/** Gathered from the index alone, and in its order, which so needs no other step. */
function prefixStatement(portion: Portion, limit: number): Statement {
  const { identityPrefix = '', from: _from, to: _to, ...others } = portion.filter;
  const conditions = conditionsOf({ ...portion, filter: {} });
  addPrefix(conditions, identityPrefix);
  // What else is asked may leave out any of them.
  const shown = Object.keys(others).length === 0 ? portion.count : limit;
  return gathering(conditions, 'identity, recorded_at, id', limit, shown);
}

/** By the stretch's own index alone: how few it has PostgreSQL can't tell, and would choose another for the filter. */
function oddStatement(portion: Portion, limit: number): Statement {
  const conditions = conditionsOf({ ...portion, filter: {} });
  return gathering(conditions, 'recorded_at DESC, id DESC', limit, limit);
}

/** How many there are, up to one more than `limit`, and unless they are more the newest `shown` of them. */
function gathering(conditions: Conditions, order: string, limit: number, shown: number): Statement {
  return {
    text: `WITH found AS MATERIALIZED (
        SELECT recorded_at, id FROM issuance ${conditions.where()} ORDER BY ${order} LIMIT ${limit + 1}),
      total AS MATERIALIZED (SELECT count(*) AS gathered FROM found)
      SELECT gathered, newest.recorded_at::text AS at, newest.id FROM total LEFT JOIN (
        SELECT * FROM found WHERE (SELECT gathered FROM total) <= ${limit}
        ORDER BY recorded_at DESC, id DESC LIMIT ${shown}) AS newest ON true
      ORDER BY newest.recorded_at DESC, newest.id DESC`,
    values: conditions.values,
  };
}

function conditionsOf({ filter, span, cursor }: Portion): Conditions {
  const conditions = new Conditions();
  addFilter(conditions, filter);
  addSpan(conditions, span);
  if (span.condition !== null) conditions.addText(span.condition);
  if (cursor !== null) conditions.before('issuance', cursor);
  return conditions;
}

function addSpan(conditions: Conditions, { from, before }: Span): void {
  if (from !== null) conditions.add('issuance.recorded_at >= ?', from);
  if (before !== null) conditions.add('issuance.recorded_at < ?', before);
}
