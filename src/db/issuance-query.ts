import type { Position } from '../audit/cursor.ts';
import { decodeCursor, encodeCursor } from '../audit/cursor.ts';
import type {
  IssuanceDetail,
  IssuanceFilter,
  IssuancePage,
  IssuanceQuery,
  RecordedIssuance,
} from '../audit/query.ts';
import { type Clock, systemClock } from '../clock.ts';
import { CarnetError, errorCodeOf } from '../errors.ts';
import type { Queryable } from './database.ts';
import { entryVersion } from './entry-rows.ts';
import { withTokenKey } from './issuance-filter.ts';
import { ISSUANCE_COLUMNS, type IssuanceRow, issuanceOf } from './issuance-rows.ts';
import { searchSpan } from './issuance-search.ts';
import { spansOf } from './issuance-spans.ts';
import { findRevocation } from './revocations.ts';

const MAX_PAGE = 1000;
/** All statements of one search together, so that what nothing fits is not looked for through all of history. */
const SEARCH_MS = 10_000;
const SERIAL = /^[0-9a-f]{32}$/;

/** The recorded issuances, as auditors ask for them. */
export class PostgresIssuanceQuery implements IssuanceQuery {
  readonly #database: Queryable;
  readonly #clock: Clock;

  /** The clock only says where to look first. */
  constructor(database: Queryable, clock: Clock = systemClock) {
    this.#database = database;
    this.#clock = clock;
  }

  /**
   * A page never moves under later issuances: those come before its first item. Throws `timeout`, with advice, for a
   * combination of filters that takes the database too long.
   */
  async search(
    filter: IssuanceFilter,
    page: { limit: number; cursor: string | null },
  ): Promise<IssuancePage> {
    checkPage(filter, page.limit);
    const cursor = page.cursor === null ? null : decodeCursor(page.cursor);
    // One more than the page was asked for: whether there is a next one.
    const resolved = await withTokenKey(this.#database, filter);
    const rows = resolved === undefined ? [] : await this.#find(resolved, cursor, page.limit + 1);
    const shown = rows.slice(0, page.limit);
    const last = rows.length > page.limit ? shown.at(-1) : undefined;
    return {
      items: shown.map(issuanceOf),
      nextCursor: last
        ? encodeCursor({ recordedAtMicros: BigInt(last.recorded_at_micros), id: BigInt(last.id) })
        : null,
    };
  }

  async #find(filter: IssuanceFilter, cursor: Position | null, count: number): Promise<IssuanceRow[]> {
    const rows: IssuanceRow[] = [];
    const now = this.#clock();
    const checkTime = (): void => {
      if (this.#clock() - now > SEARCH_MS)
        throw new CarnetError('timeout', `the search took longer than ${SEARCH_MS} ms`);
    };
    try {
      for (const span of spansOf(filter, cursor, now)) {
        checkTime();
        const portion = { filter, span, cursor, count: count - rows.length, checkTime };
        rows.push(...(await searchSpan(this.#database, portion)));
        if (rows.length >= count) break;
      }
    } catch (error) {
      throw errorCodeOf(error) === 'timeout' ? tooSlow(filter, error) : error;
    }
    return rows;
  }

  async get(serial: string): Promise<IssuanceDetail | undefined> {
    const issuance = await this.find(serial);
    if (issuance === undefined) return undefined;
    const entry = await entryVersion(this.#database, issuance.entryId, issuance.entryVersion);
    const revocation = await findRevocation(this.#database, serial);
    return { ...issuance, entry, revocation };
  }

  /** As it was recorded, by itself. */
  async find(serial: string): Promise<RecordedIssuance | undefined> {
    if (!SERIAL.test(serial)) return undefined;
    const [row] = await this.#database.query<IssuanceRow>(
      `SELECT ${ISSUANCE_COLUMNS} FROM issuance WHERE serial = $1 LIMIT 1`,
      [Buffer.from(serial, 'hex')],
    );
    return row && issuanceOf(row);
  }

  async unrecorded(serials: readonly string[]): Promise<Set<string>> {
    const rows = await this.#database.query<{ serial: string }>(
      `SELECT given AS serial FROM unnest($1::text[]) AS given
       WHERE NOT EXISTS (SELECT FROM issuance WHERE serial = decode(given, 'hex'))`,
      [serials],
    );
    return new Set(rows.map(({ serial }) => serial));
  }
}

function checkPage({ serial }: IssuanceFilter, limit: number): void {
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE)
    throw new CarnetError('invalid_argument', `the limit is ${limit}, and must be from 1 to ${MAX_PAGE}`);
  if (serial !== undefined && !SERIAL.test(serial))
    throw new CarnetError(
      'invalid_argument',
      `${JSON.stringify(serial.slice(0, 100))} is not a serial: it has 32 lower-case hexadecimal digits`,
    );
}

function tooSlow(filter: IssuanceFilter, cause: unknown): CarnetError {
  const given = Object.keys(filter).filter((name) => name !== 'from' && name !== 'to');
  const narrower =
    filter.from === undefined || filter.to === undefined
      ? 'give from and to'
      : 'give a shorter time from one to the other';
  return new CarnetError(
    'timeout',
    `few of the many that fit one of ${given.join(', ') || 'these times'} fit all, and finding them takes too long: ${narrower}`,
    { cause },
  );
}
