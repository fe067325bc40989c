import { ENTRY_COLUMNS, ENTRY_KINDS } from '../audit/log/entry.ts';
import type { Partition, RetentionStore, RetireHow, Retirer } from '../audit/retire.ts';
import { type ExportEvent, monthOf, PartitionExport, type RetiredSpan, spanOf } from '../audit/retired.ts';
import type { RetiredList, RetiredPartition } from '../audit/retired-list.ts';
import { errorCodeOf } from '../errors.ts';
import type { Database, Queryable } from './database.ts';
import { RECORDED_AT } from './log-rows.ts';

/** A moment in which nobody reads or writes history comes soon; the database itself waits 2 s for one. */
const LOCK_TRIES = 15;

/** Retention, for the owner of the tables (migration 0016). */
export class PostgresRetention implements RetentionStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async partitions(): Promise<Partition[]> {
    const rows = await this.#database.query<{
      name: string;
      history: Partition['kind'];
      starts: Date;
      ends: Date;
    }>('SELECT name, history, starts, ends FROM carnet_partitions() ORDER BY starts, history');
    return rows.map(({ name, history, starts, ends }) => ({ name, kind: history, from: starts, to: ends }));
  }

  async obstacle(partition: string): Promise<string | null> {
    const [row] = await this.#database.query<{ why: string | null }>(
      'SELECT carnet_retention_obstacle($1) AS why',
      [partition],
    );
    return row?.why ?? null;
  }

  async countRows(partition: string): Promise<number> {
    // A name from carnet_partitions(); quoted by the database all the same.
    const [name] = await this.#database.query<{ quoted: string }>('SELECT quote_ident($1) AS quoted', [
      partition,
    ]);
    const [row] = await this.#database.query<{ count: string }>(`SELECT count(*) FROM ${name?.quoted}`);
    return Number(row?.count);
  }

  async findExport(partition: string, exported: PartitionExport): Promise<bigint | null> {
    const [row] = await this.#database.query<{ id: string }>(
      `SELECT id FROM operator_event WHERE action = 'retention.export' AND subject = $1 AND after::jsonb = $2::jsonb
       ORDER BY id DESC LIMIT 1`,
      [partition, JSON.stringify(exported)],
    );
    return row === undefined ? null : BigInt(row.id);
  }

  async recordExport(
    partition: string,
    exported: PartitionExport,
    { actor, reason }: Retirer,
  ): Promise<bigint> {
    const [row] = await this.#database.query<{ id: string }>(
      `INSERT INTO operator_event (actor, action, subject, before, after, reason)
       VALUES ($1, 'retention.export', $2, NULL, $3, $4) RETURNING id`,
      [actor, partition, JSON.stringify(exported), reason],
    );
    return BigInt(row?.id ?? 0);
  }

  async isCovered(event: bigint): Promise<boolean> {
    const rows = await this.#database.query(
      `SELECT FROM log_entry WHERE kind = ${ENTRY_KINDS.operator_event} AND row_id = $1
         AND leaf_index < (SELECT max(size) FROM log_checkpoint)`,
      [event],
    );
    return rows.length > 0;
  }

  async retire(event: bigint, how: RetireHow, { actor, reason }: Retirer): Promise<void> {
    for (let tries = 1; ; tries++)
      try {
        await this.#database.query('SELECT carnet_retire_partition($1, $2, $3, $4)', [
          event,
          how,
          actor,
          reason,
        ]);
        return;
      } catch (error) {
        if (errorCodeOf(error) !== 'timeout' || tries === LOCK_TRIES) throw error;
      }
  }
}

/** The partitions that are out of history, by the events of that. */
export class PostgresRetiredList implements RetiredList {
  readonly #database: Queryable;

  constructor(database: Queryable) {
    this.#database = database;
  }

  async retired(): Promise<RetiredPartition[]> {
    const rows = await this.#database.query<{
      subject: string;
      action: string;
      actor: string;
      reason: string;
      recorded_at: Date;
      after: unknown;
    }>(
      `SELECT subject, action, actor, reason, recorded_at, after FROM operator_event
       WHERE action IN ('retention.drop', 'retention.detach') ORDER BY recorded_at, id`,
    );
    return rows.flatMap(({ subject, action, actor, reason, recorded_at, after }) => {
      const exported = PartitionExport.safeParse(after);
      // As verify has it: what is no month excuses nothing.
      if (!exported.success || monthOf(exported.data) !== subject) return [];
      const how = action === 'retention.drop' ? ('drop' as const) : ('detach' as const);
      return [{ partition: subject, how, actor, reason, retiredAt: recorded_at, exported: exported.data }];
    });
  }
}

/** Of which entries the rows are out of history. */
export async function retiredSpans(database: Queryable): Promise<RetiredSpan[]> {
  const retired = await new PostgresRetiredList(database).retired();
  return retired.flatMap(({ exported }) => spanOf(exported) ?? []);
}

/** Every event of an export that is in the log, and that one of the same partition's end followed (audit/retired.ts). */
export async function exportEvents(database: Queryable): Promise<ExportEvent[]> {
  const columns = ENTRY_COLUMNS.operator_event.map((column) => `e.${column}`).join(', ');
  const rows = await database.query<{ leaf_index: string; leaf_hash: Buffer; record: Buffer }>(
    `SELECT leaf_index, leaf_hash, pg_catalog.record_send(ROW(${columns})) AS record
     FROM operator_event AS e JOIN log_entry AS l ON l.kind = ${ENTRY_KINDS.operator_event} AND l.row_id = e.id
       AND l.xact = e.xact AND l.row_recorded_at = e.recorded_at
     WHERE e.action = 'retention.export' AND EXISTS (SELECT FROM operator_event AS gone
       WHERE gone.action IN ('retention.drop', 'retention.detach') AND gone.subject = e.subject
         AND gone.after::text = e.after::text AND gone.xact > e.xact)
     ORDER BY leaf_index`,
  );
  return rows.map(({ leaf_index, leaf_hash, record }) => ({
    index: Number(leaf_index),
    leafHash: leaf_hash,
    record,
  }));
}

export async function hasRows(database: Queryable, { kind, ...span }: RetiredSpan): Promise<boolean> {
  const column = RECORDED_AT[kind];
  const rows = await database.query(
    `SELECT FROM ${kind} WHERE ${column} >= ${timeSql(span.fromMicros)} AND ${column} < ${timeSql(span.toMicros)} LIMIT 1`,
  );
  return rows.length > 0;
}

/** Hands over the leaf hashes of the entries of a span, in order. */
export async function readLeaves(
  database: Queryable,
  { kind, firstIndex, lastIndex, fromMicros, toMicros }: RetiredSpan,
  onLeaf: (leaf: Buffer) => void,
): Promise<void> {
  await database.copyOut(
    `COPY (SELECT leaf_hash FROM log_entry WHERE leaf_index BETWEEN ${firstIndex} AND ${lastIndex}
       AND kind = ${ENTRY_KINDS[kind]} AND row_recorded_at >= ${timeSql(fromMicros)}
       AND row_recorded_at < ${timeSql(toMicros)} ORDER BY leaf_index) TO STDOUT (FORMAT binary)`,
    ([leaf]) => onLeaf(leaf as Buffer),
  );
}

function timeSql(micros: bigint): string {
  return `to_timestamp(0) + ${micros} * interval '1 microsecond'`;
}
