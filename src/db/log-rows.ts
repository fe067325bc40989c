import {
  ENTRY_COLUMNS,
  ENTRY_FORMATS,
  ENTRY_KINDS,
  type EntryKind,
  MAX_RECORD_BYTES,
} from '../audit/log/entry.ts';
import type { Hash } from '../audit/log/merkle.ts';
import { CarnetError } from '../errors.ts';
import type { Queryable } from './database.ts';

export const KINDS = Object.keys(ENTRY_KINDS) as EntryKind[];

/** When a row of the kind was recorded. */
export const RECORDED_AT = {
  issuance: 'recorded_at',
  revocation: 'revoked_at',
  operator_event: 'recorded_at',
} as const satisfies Record<EntryKind, string>;

/** A place behind every row of a transaction. */
export const MAX_ID = '9223372036854775807';

/**
 * Makes entries of at most `limit` rows, and returns their leaf hashes in order (LogTransaction.append).
 *
 * A transaction below the oldest that is under way (pg_snapshot_xmin) has ended, and shows in this statement's
 * snapshot all that it recorded; none will ever come before it. So the order of (xact, kind, id) can be cut there:
 * neither a late commit nor a gap in a sequence can bring a row behind the cut.
 */
export async function appendRows(tx: Queryable, size: number, limit: number): Promise<Hash[]> {
  const last = await lastOf(tx, size);
  const fresh = KINDS.map((kind, place) => {
    const behind = place < last.place ? MAX_ID : place === last.place ? last.id : '-1';
    return `(SELECT ${ENTRY_KINDS[kind]} AS kind, xact, id, ${RECORDED_AT[kind]} AS recorded_at,
        pg_catalog.sha256('\\x00'::bytea || ${entrySql(kind, kind)}) AS leaf_hash
      FROM ${kind} WHERE (xact, id) > ('${last.xact}'::xid8, ${behind})
        AND xact < pg_snapshot_xmin(pg_current_snapshot())
      ORDER BY xact, id LIMIT ${limit})`;
  });
  const rows = await tx.query<{ leaf_hash: Buffer }>(
    `WITH fresh AS (${fresh.join(' UNION ALL ')}),
     placed AS (SELECT *, row_number() OVER (ORDER BY xact, kind, id) AS place FROM fresh),
     added AS (
       INSERT INTO log_entry (leaf_index, kind, xact, row_id, row_recorded_at, leaf_hash)
       SELECT $1::bigint + place - 1, kind, xact, id, recorded_at, leaf_hash FROM placed WHERE place <= $2::bigint
       RETURNING leaf_index, leaf_hash)
     SELECT leaf_hash FROM added ORDER BY leaf_index`,
    [size, limit],
  );
  return rows.map(({ leaf_hash }) => leaf_hash);
}

/** An entry of the log, made of its row as that is now; null where the row is gone. */
export interface StoredEntry {
  readonly index: number;
  readonly kind: EntryKind;
  readonly recordedAtMicros: bigint;
  readonly entry: Buffer | null;
}

/** The entries `start` to `end`, without `end`, as far as there are any. */
export async function readEntries(database: Queryable, start: number, end: number): Promise<StoredEntry[]> {
  const rows = await database.query<{
    leaf_index: string;
    kind: number;
    micros: string;
    entry: Buffer | null;
  }>(
    `SELECT leaf_index, kind, (extract(epoch FROM row_recorded_at) * 1000000)::bigint AS micros,
       ${loggedEntrySql('log_entry')} AS entry FROM log_entry
     WHERE leaf_index >= $1 AND leaf_index < $2 ORDER BY leaf_index`,
    [start, end],
  );
  return rows.map(({ leaf_index, kind, micros, entry }) => ({
    index: Number(leaf_index),
    kind: KINDS[kind - 1] as EntryKind,
    recordedAtMicros: BigInt(micros),
    entry,
  }));
}

/** SQL for the entry of what a row of `log_entry` stands for; null where that row is gone. */
export function loggedEntrySql(logged: string): string {
  const cases = KINDS.map(
    (kind) => `WHEN ${ENTRY_KINDS[kind]} THEN (SELECT ${entrySql(kind, kind)} FROM ${kind}
      WHERE ${kind}.${RECORDED_AT[kind]} = ${logged}.row_recorded_at AND ${kind}.xact = ${logged}.xact
        AND ${kind}.id = ${logged}.row_id)`,
  );
  return `(CASE ${logged}.kind ${cases.join(' ')} END)`;
}

interface Last {
  readonly xact: string;
  /** In KINDS. */
  readonly place: number;
  readonly id: string;
}

/** What the last of `size` entries stands for. Throws `conflict`. */
async function lastOf(tx: Queryable, size: number): Promise<Last> {
  if (size === 0) return { xact: '0', place: -1, id: '-1' };
  const [row] = await tx.query<{ xact: string; kind: number; row_id: string; ahead: boolean }>(
    `SELECT xact, kind, row_id, xact >= pg_snapshot_xmax(pg_current_snapshot()) AS ahead
     FROM log_entry WHERE leaf_index = $1`,
    [size - 1],
  );
  if (row === undefined)
    throw new CarnetError('internal', `the log lacks entry ${size - 1}: run carnet audit verify`);
  // By pg_dump into a younger cluster, rows of a higher transaction came than any that will be for long.
  if (row.ahead)
    throw new CarnetError(
      'conflict',
      `the database counts its transactions from less than ${row.xact}, which the log has seen: start the servers again, which sets it right`,
    );
  return { xact: row.xact, place: KINDS.findIndex((kind) => ENTRY_KINDS[kind] === row.kind), id: row.row_id };
}

/**
 * SQL for the bytes of the entry of a row: PostgreSQL's own binary form of its columns, which is one for each value
 * and keeps JSON to the letter. Functions are named by their schema, so that none can be put in their place.
 */
export function entrySql(kind: EntryKind, row: string): string {
  const columns = ENTRY_COLUMNS[kind].map((column) => `${row}.${column}`).join(', ');
  const record = `pg_catalog.record_send(ROW(${columns}))`;
  const head = (format: number): string => `'\\x${hexByte(format)}${hexByte(ENTRY_KINDS[kind])}'::bytea`;
  return `(SELECT CASE WHEN octet_length(record) <= ${MAX_RECORD_BYTES} THEN ${head(ENTRY_FORMATS.record)} || record
    ELSE ${head(ENTRY_FORMATS.digest)} || pg_catalog.sha256(record) END FROM (SELECT ${record} AS record OFFSET 0))`;
}

function hexByte(value: number): string {
  return value.toString(16).padStart(2, '0');
}
