import type { ExportedRow, ExportFilter, ExportSource } from '../audit/export.ts';
import { ENTRY_COLUMNS, ENTRY_KINDS, type EntryKind } from '../audit/log/entry.ts';
import type { LeafRange } from '../audit/log/subtree.ts';
import { isRetired } from '../audit/retired.ts';
import type { Queryable } from './database.ts';
import { KINDS, RECORDED_AT } from './log-rows.ts';
import { retiredSpans } from './retention.ts';

/** What is asked of an issuance's own columns. */
const CONDITIONS = {
  identity: 'identity = ?',
  identityPrefix: 'starts_with(identity, ?)',
  instance: 'instance = ?',
  node: 'node = ?',
  entry: 'entry_id = ?',
  authority: 'authority_id = ?',
} as const;

/** The records that the log has, read from PostgreSQL. */
export class PostgresExportSource implements ExportSource {
  readonly #database: Queryable;

  constructor(database: Queryable) {
    this.#database = database;
  }

  async rows({ start, end }: LeafRange, filter: ExportFilter, limit: number): Promise<ExportedRow[]> {
    const values: unknown[] = [start, end, limit];
    const { kinds } = filter;
    const given = (value: unknown): string => `$${values.push(value)}`;
    const rows = await this.#database.query<{
      leaf_index: string;
      kind: number;
      leaf_hash: Buffer;
      record: Buffer | null;
      micros: string;
    }>(
      `SELECT leaf_index, kind, leaf_hash, (extract(epoch FROM row_recorded_at) * 1000000)::bigint AS micros, (CASE kind ${KINDS.map(recordCase).join(' ')} END) AS record
       FROM log_entry WHERE ${[
         'leaf_index >= $1 AND leaf_index < $2',
         ...(kinds.length === KINDS.length ? [] : [`kind = ANY(${given(kinds.map((k) => ENTRY_KINDS[k]))})`]),
         ...(filter.from === undefined ? [] : [`row_recorded_at >= ${given(filter.from)}`]),
         ...(filter.to === undefined ? [] : [`row_recorded_at < ${given(filter.to)}`]),
         ...issuanceConditions(filter, given),
       ].join(' AND ')}
       ORDER BY leaf_index LIMIT $3`,
      values,
    );
    const spans = rows.some(({ record }) => record === null) ? await retiredSpans(this.#database) : [];
    return rows.map((row) => {
      const [index, kind] = [Number(row.leaf_index), KINDS[row.kind - 1] as EntryKind];
      const place = { index, kind, recordedAtMicros: BigInt(row.micros) };
      const retired = row.record === null && isRetired(spans, place);
      return { index, kind, leafHash: row.leaf_hash, record: row.record, retired };
    });
  }
}

/** One that is gone fits as well: who exports is to be told. */
function issuanceConditions(filter: ExportFilter, given: (value: unknown) => string): string[] {
  const conditions = (Object.keys(CONDITIONS) as (keyof typeof CONDITIONS)[])
    .filter((name) => filter[name] !== undefined)
    .map((name) => CONDITIONS[name].replace('?', given(filter[name])));
  if (conditions.length === 0) return [];
  return [`coalesce((SELECT ${conditions.join(' AND ')} ${rowOf('issuance')}), true)`];
}

function recordCase(kind: EntryKind): string {
  const columns = ENTRY_COLUMNS[kind].map((column) => `${kind}.${column}`).join(', ');
  return `WHEN ${ENTRY_KINDS[kind]} THEN (SELECT pg_catalog.record_send(ROW(${columns})) ${rowOf(kind)})`;
}

function rowOf(kind: EntryKind): string {
  return `FROM ${kind} WHERE ${kind}.${RECORDED_AT[kind]} = row_recorded_at
    AND ${kind}.xact = log_entry.xact AND ${kind}.id = row_id`;
}
