import { ENTRY_KINDS } from '../audit/log/entry.ts';
import type { CompleteNode } from '../audit/log/frontier.ts';
import type { Hash } from '../audit/log/merkle.ts';
import type { SignedTree } from '../audit/log-store.ts';
import type { LoggedRow, LogSource } from '../audit/verify-log.ts';
import type { Queryable } from './database.ts';
import { KINDS, loggedEntrySql, RECORDED_AT } from './log-rows.ts';

/** What tells a row of each kind from others, to a person. */
const NAMED = {
  issuance: "'issuance ' || id || ' (serial ' || encode(serial, 'hex') || ', ' || identity || ')'",
  revocation: "'revocation ' || id || ' (serial ' || encode(serial, 'hex') || ')'",
  operator_event: "'operator_event ' || id || ' (' || action || ' ' || subject || ' by ' || actor || ')'",
} as const;

/** Nothing is prepared or cached: what is verified is what the tables hold. */
export class PostgresLogSource implements LogSource {
  readonly #database: Queryable;

  constructor(database: Queryable) {
    this.#database = database;
  }

  async head(): Promise<SignedTree | null> {
    const rows = await this.#checkpoints('ORDER BY size DESC LIMIT 1', []);
    return rows[0] ?? null;
  }

  checkpoints(from: number, to: number): Promise<SignedTree[]> {
    return this.#checkpoints('WHERE size > $1 AND size <= $2 ORDER BY size', [from, to]);
  }

  async rows(start: number, end: number): Promise<LoggedRow[]> {
    const rows = await this.#database.query<{
      leaf_index: string;
      kind: number;
      xact: string;
      row_id: string;
      leaf_hash: Buffer;
      entry: Buffer | null;
    }>(
      `SELECT leaf_index, kind, xact, row_id, leaf_hash, ${loggedEntrySql('log_entry')} AS entry
       FROM log_entry WHERE leaf_index >= $1 AND leaf_index < $2 ORDER BY leaf_index`,
      [start, end],
    );
    return rows.map((row) => ({
      index: Number(row.leaf_index),
      kind: KINDS[row.kind - 1] as LoggedRow['kind'],
      xact: BigInt(row.xact),
      id: BigInt(row.row_id),
      leafHash: row.leaf_hash,
      entry: row.entry,
    }));
  }

  async nodes(nodes: readonly CompleteNode[]): Promise<(Hash | null)[]> {
    const rows = await this.#database.query<{ hash: Buffer | null }>(
      `SELECT hash FROM unnest($1::smallint[], $2::bigint[]) WITH ORDINALITY AS given (level, node_index, place)
       LEFT JOIN log_node USING (level, node_index) ORDER BY place`,
      [nodes.map(({ level }) => level), nodes.map(({ index }) => index)],
    );
    return rows.map(({ hash }) => hash);
  }

  async findUnlogged(): Promise<string | null> {
    for (const kind of KINDS) {
      const [row] = await this.#database.query<{ named: string }>(
        `SELECT ${NAMED[kind]} AS named FROM ${kind} WHERE xact < (SELECT xact FROM log_entry ORDER BY leaf_index DESC LIMIT 1)
           AND NOT EXISTS (SELECT FROM log_entry WHERE log_entry.kind = ${ENTRY_KINDS[kind]} AND row_id = ${kind}.id
             AND log_entry.xact = ${kind}.xact AND row_recorded_at = ${kind}.${RECORDED_AT[kind]})
         ORDER BY xact, id LIMIT 1`,
      );
      if (row !== undefined) return row.named;
    }
    return null;
  }

  async describe({ kind, id }: Pick<LoggedRow, 'kind' | 'id'>): Promise<string> {
    const [row] = await this.#database.query<{ named: string }>(
      `SELECT ${NAMED[kind]} AS named FROM ${kind} WHERE id = $1 LIMIT 1`,
      [id],
    );
    return row?.named ?? `${kind} ${id}`;
  }

  async #checkpoints(rest: string, values: readonly unknown[]): Promise<SignedTree[]> {
    const rows = await this.#database.query<{ size: string; root: Buffer; note: string }>(
      `SELECT size, root, note FROM log_checkpoint ${rest}`,
      values,
    );
    return rows.map(({ size, root, note }) => ({ size: Number(size), root, note }));
  }
}
