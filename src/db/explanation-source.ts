import { timestampOf } from '../audit/cursor.ts';
import type { EntryVersion, ExplanationSource, RulesThen } from '../audit/explanation.ts';
import type { RecordedOperatorEvent } from '../audit/operator-event.ts';
import type { RecordedIssuance } from '../audit/query.ts';
import type { Selector } from '../identity/selector.ts';
import type { Queryable } from './database.ts';
import { type EntryRow, entryOf } from './entry-rows.ts';
import type { PostgresIssuanceQuery } from './issuance-query.ts';
import { listEvents } from './operator-events.ts';

const VERSION_COLUMNS = `entry_id AS id, version, spiffe_id, selectors, dns_names, ttl_seconds, hint, federates_with,
  actor, recorded_at`;
/** The version and its event are two statements of one transaction: each bears the time that it began. */
const EVENT_FOLLOWS_MS = 60_000;

interface VersionRow extends EntryRow {
  readonly actor: string;
  readonly recorded_at: Date;
}

/** What was on record at a time, for explanations. */
export class PostgresExplanationSource implements ExplanationSource {
  readonly #database: Queryable;
  readonly #issuances: Pick<PostgresIssuanceQuery, 'find'>;

  constructor(database: Queryable, issuances: Pick<PostgresIssuanceQuery, 'find'>) {
    this.#database = database;
    this.#issuances = issuances;
  }

  get(serial: string): Promise<RecordedIssuance | undefined> {
    return this.#issuances.find(serial);
  }

  async rulesThen(micros: bigint, selectors: readonly Selector[], limit: number): Promise<RulesThen> {
    const rows = await this.#database.query<VersionRow & { count: string }>(
      `WITH last AS MATERIALIZED (
         SELECT DISTINCT ON (entry_id) entry_id, version, selectors, deleted FROM entry_version
         WHERE recorded_at <= $1 ORDER BY entry_id DESC, version DESC),
       closest AS (
         SELECT entry_id, version, cardinality(selectors) AS all_selectors,
           cardinality(selectors) - CASE WHEN selectors && $2::text[] THEN
             (SELECT count(*) FROM unnest(selectors) AS one WHERE one = ANY($2::text[])) ELSE 0 END AS missing
         FROM last WHERE NOT deleted ORDER BY missing, all_selectors DESC, entry_id LIMIT $3)
       SELECT ${VERSION_COLUMNS}, (SELECT count(*) FROM last WHERE NOT deleted) AS count
       FROM closest JOIN entry_version USING (entry_id, version) ORDER BY missing, all_selectors DESC, entry_id`,
      [timestampOf(micros), selectors, limit],
    );
    return { closest: rows.map(versionOf), count: Number(rows[0]?.count ?? 0) };
  }

  async version(entryId: string, version: number): Promise<EntryVersion | null> {
    const [row] = await this.#database.query<VersionRow>(
      `SELECT ${VERSION_COLUMNS} FROM entry_version WHERE entry_id = $1 AND version = $2`,
      [entryId, version],
    );
    return row ? versionOf(row) : null;
  }

  async eventOf({ entry, recordedAt }: EntryVersion): Promise<RecordedOperatorEvent | null> {
    const to = new Date(recordedAt.getTime() + EVENT_FOLLOWS_MS);
    const { items } = await listEvents(
      this.#database,
      { limit: 100, cursor: null },
      { subject: entry.id, action: 'entry.', from: recordedAt, to },
    );
    return items.find(({ after }) => after?.version === entry.version) ?? null;
  }
}

function versionOf(row: VersionRow): EntryVersion {
  return { entry: entryOf(row), actor: row.actor, recordedAt: row.recorded_at };
}
