import {
  type Expiries,
  type GrantedIdentity,
  MAX_REPORT_DAYS,
  type Report,
  type ReportKey,
  type ReportRequest,
  type ReportRow,
  type Reports,
} from '../audit/report.ts';
import { ISSUING_CA, JWT_SVID, ROOT_CA } from '../ca/profile.ts';
import { type Clock, systemClock } from '../clock.ts';
import { CarnetError } from '../errors.ts';
import { Conditions } from './conditions.ts';
import type { Queryable } from './database.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** Where each key is counted (migration 0015), and in which unit of time. */
interface Counts {
  readonly table: string;
  readonly key: string;
  readonly time: 'day' | 'hour';
}
const BY_RULE = { table: 'issuance_by_rule', time: 'day' } as const;
const BY_SIGNER = { table: 'issuance_by_signer', time: 'hour' } as const;
/** A day's beginning; a date by itself has no zone. */
const DAY_AT = "(day::timestamp AT TIME ZONE 'UTC')";
const COUNTS: Readonly<Record<ReportKey, Counts>> = {
  identity: { ...BY_RULE, key: 'identity' },
  entry: { ...BY_RULE, key: "nullif(entry_id, '')" },
  node: { table: 'issuance_by_node', key: "nullif(node, '')", time: 'day' },
  day: { ...BY_RULE, key: DAY_AT },
  hour: { ...BY_SIGNER, key: 'hour' },
  profile: { ...BY_SIGNER, key: 'profile' },
  authority: { ...BY_SIGNER, key: 'authority_id' },
};
/** A day of one entry is counted by its rule; of all, by what has fewer rows. */
const DAYS_OF_ALL = { ...BY_SIGNER, key: "date_trunc('day', hour, 'UTC')" };

/** Of CAs, and tokens. */
const NO_LEAVES = [ISSUING_CA, ROOT_CA, JWT_SVID].map(({ name }) => `'${name}'`).join(', ');

interface CountRow {
  readonly key: string | Date | null;
  readonly issued: string;
  readonly first_at: Date;
  readonly last_at: Date;
  readonly all_issued: string;
  readonly all_rows: string;
}

interface GrantedRow {
  readonly identity: string;
  readonly issued: string;
  readonly first_at: Date;
  readonly last_at: Date;
}

/** Reports from what was counted (count-issuances.ts), and of what is valid now. */
export class PostgresReports implements Reports {
  readonly #database: Queryable;
  readonly #clock: Clock;

  constructor(database: Queryable, clock: Clock = systemClock) {
    this.#database = database;
    this.#clock = clock;
  }

  async report(request: ReportRequest): Promise<Report> {
    const { by, entry, limit } = request;
    checkSpan(request, COUNTS[by].time);
    const { table, key, time } = by === 'day' && entry === null ? DAYS_OF_ALL : COUNTS[by];
    const conditions = new Conditions();
    const bound = time === 'day' ? "(?::timestamptz AT TIME ZONE 'UTC')::date" : '?::timestamptz';
    if (request.from !== null) conditions.add(`${time} >= ${bound}`, request.from);
    conditions.add(`${time} < ${bound}`, request.to);
    if (entry !== null) conditions.add('entry_id = ?', entry);
    const order = by === 'day' || by === 'hour' ? 'key' : 'issued DESC, key';
    // How far it was counted, in the same snapshot.
    const rows = await this.#database.query<CountRow & { size: string }>(
      `WITH counts AS (
         SELECT ${key} AS key, sum(issued)::bigint AS issued, min(first_at) AS first_at, max(last_at) AS last_at
         FROM ${table} ${conditions.where()} GROUP BY 1)
       SELECT size, found.* FROM counted LEFT JOIN (
         SELECT *, sum(issued) OVER ()::bigint AS all_issued, count(*) OVER () AS all_rows
         FROM counts ORDER BY ${order} LIMIT ${limit}) AS found ON true ORDER BY ${order}`,
      conditions.values,
    );
    const [first] = rows;
    return {
      rows: rows.filter(({ issued }) => issued !== null).map(rowOf),
      issued: Number(first?.all_issued ?? 0),
      count: Number(first?.all_rows ?? 0),
      logSize: Number(first?.size ?? 0),
    };
  }

  async granted(entry: string, after: string | null, limit: number): Promise<GrantedIdentity[]> {
    const rows = await this.#database.query<GrantedRow>(
      `SELECT identity, sum(issued)::bigint AS issued, min(first_at) AS first_at, max(last_at) AS last_at
       FROM issuance_by_rule WHERE entry_id = $1 AND identity > $2 GROUP BY identity ORDER BY identity LIMIT ${limit}`,
      [entry, after ?? ''],
    );
    return rows.map(({ identity, issued, first_at, last_at }) => ({
      identity,
      issued: Number(issued),
      firstAt: first_at,
      lastAt: last_at,
    }));
  }

  /** Lives of hours are found by when they were recorded, the few longer ones by an index of theirs (migration 0015). */
  async expiries(hours: number): Promise<Expiries> {
    const now = this.#clock();
    const last = new Date(Math.floor(now / HOUR) * HOUR + hours * HOUR);
    const rows = await this.#database.query<{ hour: Date | null; ending: string }>(
      `WITH valid AS (
         SELECT not_after, recorded_at, id, profile FROM issuance
         WHERE recorded_at > $1::timestamptz - interval '25 hours' AND not_after - $1::timestamptz >= interval '0'
         UNION ALL
         SELECT not_after, recorded_at, id, profile FROM issuance
         WHERE recorded_at <= $1::timestamptz - interval '25 hours'
           AND recorded_at > $1::timestamptz - interval '32 days'
           AND not_after - recorded_at >= interval '25 hours' AND not_after - $1::timestamptz >= interval '0')
       SELECT CASE WHEN not_after < $2::timestamptz THEN date_trunc('hour', not_after, 'UTC') END AS hour,
         count(*) AS ending
       FROM valid WHERE profile NOT IN (${NO_LEAVES}) AND NOT EXISTS (
         SELECT FROM revoked_issuance AS ended WHERE ended.recorded_at = valid.recorded_at AND ended.id = valid.id)
       GROUP BY 1 ORDER BY 1`,
      [new Date(now), last],
    );
    const hourly = rows.flatMap(({ hour, ending }) =>
      hour === null ? [] : [{ hour, ending: Number(ending) }],
    );
    return { hours: hourly, later: Number(rows.find(({ hour }) => hour === null)?.ending ?? 0) };
  }
}

function rowOf({ key, issued, first_at, last_at }: CountRow): ReportRow {
  return { key, issued: Number(issued), firstAt: first_at, lastAt: last_at };
}

function checkSpan({ by, from, to, entry }: ReportRequest, time: Counts['time']): void {
  const unit = time === 'day' ? DAY : HOUR;
  for (const end of [from, to])
    if (end !== null && end.getTime() % unit !== 0)
      throw new CarnetError(
        'invalid_argument',
        `${by} is counted by whole ${time}s (UTC): ${end.toISOString()} is not the beginning of one`,
      );
  if (entry !== null && by !== 'identity' && by !== 'day')
    throw new CarnetError(
      'invalid_argument',
      `of an entry, issuances are counted by identity or day, not by ${by}`,
    );
  const days = by === 'hour' ? MAX_REPORT_DAYS.hour : MAX_REPORT_DAYS.other;
  if (entry === null && (from === null || to.getTime() - from.getTime() > days * DAY))
    throw new CarnetError(
      'invalid_argument',
      `a report by ${by} spans at most ${days} days: give a later from`,
    );
}
