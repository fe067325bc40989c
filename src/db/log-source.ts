import { timestampOf } from '../audit/cursor.ts';
import { ENTRY_COLUMNS, ENTRY_KINDS, type EntryKind } from '../audit/log/entry.ts';
import type { CompleteNode } from '../audit/log/frontier.ts';
import type { Hash } from '../audit/log/merkle.ts';
import { decodeTimestamp } from '../audit/log/record-values.ts';
import type { NodeRange } from '../audit/log/subtree.ts';
import type { LoggedEntry, LogSource, Place, RowRange } from '../audit/log-source.ts';
import type { SignedTree } from '../audit/log-store.ts';
import type { RetiredSpan } from '../audit/retired.ts';
import type { Queryable } from './database.ts';
import { findFalseRule } from './entry-history.ts';
import { readNodes } from './log.ts';
import { KINDS, MAX_ID, RECORDED_AT } from './log-rows.ts';
import { exportEvents, hasRows, readLeaves } from './retention.ts';

/** What tells a row of each kind from others, to a person; when it was recorded comes behind. */
const NAMED = {
  issuance: "'issuance ' || id || ' (serial ' || encode(serial, 'hex') || ', ' || identity",
  revocation: "'revocation ' || id || ' (serial ' || encode(serial, 'hex')",
  operator_event: "'operator_event ' || id || ' (' || action || ' ' || subject || ' by ' || actor",
} as const satisfies Record<EntryKind, string>;

/** Nothing is prepared or cached: what is verified is what the tables hold. */
export class PostgresLogSource implements LogSource {
  readonly #database: Queryable;

  constructor(database: Queryable) {
    this.#database = database;
  }

  readonly readNodes = (ranges: readonly NodeRange[]): Promise<Hash[][]> => readNodes(this.#database, ranges);

  async head(): Promise<SignedTree | null> {
    const rows = await this.#checkpoints('ORDER BY size DESC LIMIT 1', []);
    return rows[0] ?? null;
  }

  checkpoints(from: number, to: number): Promise<SignedTree[]> {
    return this.#checkpoints('WHERE size > $1 AND size <= $2 ORDER BY size', [from, to]);
  }

  async entryBeyond(size: number): Promise<number | null> {
    const [row] = await this.#database.query<{ leaf_index: string }>(
      `SELECT leaf_index FROM log_entry WHERE leaf_index < 0 OR leaf_index >= $1
       ORDER BY leaf_index < 0 DESC, leaf_index DESC LIMIT 1`,
      [size],
    );
    return row ? Number(row.leaf_index) : null;
  }

  async entries(start: number, end: number): Promise<LoggedEntry[]> {
    const entries: LoggedEntry[] = [];
    await this.#database.copyOut(
      `COPY (SELECT leaf_index, kind, xact, row_id, row_recorded_at, leaf_hash FROM log_entry
         WHERE leaf_index >= ${start} AND leaf_index < ${end} ORDER BY leaf_index) TO STDOUT (FORMAT binary)`,
      ([index, kind, xact, id, recordedAt, leafHash]) =>
        entries.push({
          index: Number(int8(index)),
          kind: KINDS[(kind?.readInt16BE() ?? 0) - 1] as EntryKind,
          xact: int8(xact),
          id: int8(id),
          recordedAtMicros: decodeTimestamp(recordedAt as Buffer),
          leafHash: Buffer.from(leafHash ?? []),
        }),
    );
    return entries;
  }

  async records({ kind, after, to, limit }: RowRange, onRecord: (record: Buffer) => void): Promise<void> {
    const columns = ENTRY_COLUMNS[kind].map((column) => `${kind}.${column}`).join(', ');
    const behind = after === null ? '' : `(xact, id) > ${edgeOf(after, kind)} AND`;
    await this.#database.copyOut(
      `COPY (SELECT pg_catalog.record_send(ROW(${columns})) FROM ${kind}
         WHERE ${behind} (xact, id) <= ${edgeOf(to, kind)} ORDER BY xact, id LIMIT ${limit})
       TO STDOUT (FORMAT binary)`,
      ([record]) => onRecord(record as Buffer),
    );
  }

  async nodes(nodes: readonly CompleteNode[]): Promise<(Hash | null)[]> {
    const rows = await this.#database.query<{ hash: Buffer | null }>(
      `SELECT hash FROM unnest($1::smallint[], $2::bigint[]) WITH ORDINALITY AS given (level, node_index, place)
       LEFT JOIN log_node USING (level, node_index) ORDER BY place`,
      [nodes.map(({ level }) => level), nodes.map(({ index }) => index)],
    );
    return rows.map(({ hash }) => hash);
  }

  exportEvents(): ReturnType<LogSource['exportEvents']> {
    return exportEvents(this.#database);
  }

  hasRows(span: RetiredSpan): Promise<boolean> {
    return hasRows(this.#database, span);
  }

  leaves(span: RetiredSpan, onLeaf: (leaf: Hash) => void): Promise<void> {
    return readLeaves(this.#database, span, onLeaf);
  }

  async findForged(): Promise<string | null> {
    for (const kind of KINDS) {
      const [row] = await this.#database.query<{ named: string }>(
        `SELECT ${inWords(kind)} AS named FROM ${kind}
         WHERE xact IS NULL OR xact >= pg_snapshot_xmax(pg_current_snapshot()) ORDER BY xact, id LIMIT 1`,
      );
      if (row !== undefined) return row.named;
    }
    return null;
  }

  findFalseRule(fromMicros: bigint): Promise<string | null> {
    return findFalseRule(this.#database, fromMicros);
  }

  async describe({
    kind,
    xact,
    id,
    recordedAtMicros,
  }: Place & { readonly recordedAtMicros: bigint }): Promise<string> {
    const [row] = await this.#database.query<{ named: string }>(
      `SELECT ${inWords(kind)} AS named FROM ${kind} WHERE id = $1 ORDER BY (xact = $2) DESC LIMIT 1`,
      [id, xact],
    );
    return row?.named ?? `${kind} ${id} (recorded ${timestampOf(recordedAtMicros)})`;
  }

  async #checkpoints(rest: string, values: readonly unknown[]): Promise<SignedTree[]> {
    const rows = await this.#database.query<{ size: string; root: Buffer; note: string }>(
      `SELECT size, root, note FROM log_checkpoint ${rest}`,
      values,
    );
    return rows.map(({ size, root, note }) => ({ size: Number(size), root, note }));
  }
}

/** The last (xact, id) of a kind that is not behind a place: kinds follow one another within a transaction. */
function edgeOf({ kind, xact, id }: Place, of: EntryKind): string {
  const behind = ENTRY_KINDS[of] - ENTRY_KINDS[kind];
  return `('${xact}'::xid8, ${behind < 0 ? MAX_ID : behind > 0 ? -1 : id})`;
}

function inWords(kind: EntryKind): string {
  const recorded = `to_char(${RECORDED_AT[kind]} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;
  return `${NAMED[kind]} || ', recorded ' || ${recorded} || ')'`;
}

function int8(bytes: Buffer | null | undefined): bigint {
  return bytes?.readBigInt64BE() ?? -1n;
}
