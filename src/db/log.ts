import { ENTRY_KINDS } from '../audit/log/entry.ts';
import type { CompleteNode } from '../audit/log/frontier.ts';
import type { Hash } from '../audit/log/merkle.ts';
import type { NodeRange } from '../audit/log/subtree.ts';
import type {
  EvidencePlaces,
  LogReader,
  LogStore,
  LogTransaction,
  SignedTree,
  StoredLogKey,
} from '../audit/log-store.ts';
import { isRetired, spanOf } from '../audit/retired.ts';
import { retiredInWords } from '../audit/retired-list.ts';
import type { Witness, Witnessing, WitnessProblem, WitnessState, WitnessStore } from '../audit/witness.ts';
import { CarnetError } from '../errors.ts';
import type { Database, Queryable } from './database.ts';
import { tryLock } from './locks.ts';
import { findLogKey, insertLogKey } from './log-keys.ts';
import { appendRows, KINDS, RECORDED_AT, readEntries, type StoredEntry } from './log-rows.ts';
import { PostgresRetiredList } from './retention.ts';
import { findLatest, findWitnessed, insertCosignature, listWitnesses, setProblem } from './witnesses.ts';

const NO_WITNESSES: Witnessing = { witnesses: [], quorum: 0 };

/** The log in PostgreSQL. */
export class PostgresLog implements LogStore, LogReader, WitnessStore {
  readonly #database: Database;
  readonly #witnessing: Witnessing;

  constructor(database: Database, witnessing = NO_WITNESSES) {
    this.#database = database;
    this.#witnessing = witnessing;
  }

  sequence<T>(work: (tx: LogTransaction) => Promise<T>): Promise<T | null> {
    return this.#database.transact(async (tx) =>
      (await tryLock(tx, 'log')) ? work(transactionOf(tx)) : null,
    );
  }

  readonly readNodes = (ranges: readonly NodeRange[]): Promise<Hash[][]> => readNodes(this.#database, ranges);

  head(): Promise<SignedTree | null> {
    return readHead(this.#database);
  }

  get quorum(): number {
    return this.#witnessing.quorum;
  }

  async published(): Promise<SignedTree | null> {
    const witnessed = this.quorum > 0 ? await this.witnessed() : null;
    return witnessed ?? findLatest(this.#database, this.#witnessing.witnesses);
  }

  witnessed(): Promise<SignedTree | null> {
    return findWitnessed(this.#database, this.#witnessing);
  }

  witnesses(): Promise<WitnessState[]> {
    return listWitnesses(this.#database, this.#witnessing.witnesses);
  }

  insertCosignature(witness: Witness, size: number, line: string): Promise<void> {
    return insertCosignature(this.#database, witness, size, line);
  }

  setProblem(witness: Witness, problem: WitnessProblem | null): Promise<void> {
    return setProblem(this.#database, witness, problem);
  }

  key(): Promise<StoredLogKey | null> {
    return findLogKey(this.#database);
  }

  async entries(start: number, end: number): Promise<Uint8Array[]> {
    const found = await readEntries(this.#database, start, end);
    const gone = found.filter(({ entry }) => entry === null);
    if (gone.length > 0) throw await goneError(this.#database, gone);
    return found.map(({ entry }) => entry as Buffer);
  }

  async findIssuance(serial: string): Promise<number | null> {
    const [row] = await this.#database.query<{ leaf_index: string }>(
      `SELECT leaf_index FROM log_entry WHERE kind = ${ENTRY_KINDS.issuance}
         AND row_id = (SELECT id FROM issuance WHERE serial = decode($1, 'hex') LIMIT 1)`,
      [serial],
    );
    return row === undefined ? null : Number(row.leaf_index);
  }

  async findEvidence(serial: string): Promise<EvidencePlaces | null> {
    const [row] = await this.#database.query<Record<keyof EvidencePlaces, string | null>>(
      `SELECT
         (SELECT leaf_index FROM log_entry WHERE kind = ${ENTRY_KINDS.issuance} AND row_id = issuance.id) AS issuance,
         (SELECT min(leaf_index) FROM log_entry WHERE kind = ${ENTRY_KINDS.operator_event} AND row_id IN (
            SELECT id FROM operator_event WHERE subject = entry_id AND action IN ('entry.create', 'entry.update')
              AND after ->> 'version' = entry_version::text)) AS rule,
         (SELECT leaf_index FROM log_entry WHERE kind = ${ENTRY_KINDS.revocation} AND row_id = (
            SELECT id FROM revocation WHERE revocation.serial = issuance.serial)) AS revocation
       FROM issuance WHERE serial = decode($1, 'hex') LIMIT 1`,
      [serial],
    );
    const indexOf = (index: string | null | undefined): number | null =>
      index == null ? null : Number(index);
    const issuance = indexOf(row?.issuance);
    return issuance === null
      ? null
      : { issuance, rule: indexOf(row?.rule), revocation: indexOf(row?.revocation) };
  }

  async waitingSince(): Promise<Date | null> {
    const oldest = KINDS.map(
      (kind) => `(SELECT ${RECORDED_AT[kind]} AS recorded_at FROM ${kind}
         WHERE xact >= coalesce((SELECT xact FROM log_entry ORDER BY leaf_index DESC LIMIT 1), '0')
           AND NOT EXISTS (SELECT FROM log_entry WHERE kind = ${ENTRY_KINDS[kind]} AND row_id = ${kind}.id)
         ORDER BY xact, id LIMIT 1)`,
    );
    const [row] = await this.#database.query<{ since: Date | null }>(
      `SELECT min(recorded_at) AS since FROM (${oldest.join(' UNION ALL ')}) AS waiting`,
    );
    return row?.since ?? null;
  }
}

/** What went with its partition can be had from the export; what is gone otherwise is a fault. */
async function goneError(database: Queryable, gone: readonly StoredEntry[]): Promise<CarnetError> {
  const retired = await new PostgresRetiredList(database).retired();
  const spans = retired.flatMap(({ exported }) => spanOf(exported) ?? []);
  const fault = gone.find((entry) => !isRetired(spans, entry));
  if (fault !== undefined)
    return new CarnetError(
      'internal',
      `the row of log entry ${fault.index} is gone: run carnet audit verify`,
    );
  return new CarnetError(
    'not_found',
    `the rows of log entries from ${gone[0]?.index} on are not in the database any more${retiredInWords(retired, gone[0]?.kind)}`,
  );
}

function transactionOf(tx: Queryable): LogTransaction {
  return {
    readNodes: (ranges) => readNodes(tx, ranges),
    key: () => findLogKey(tx),
    insertKey: (key) => insertLogKey(tx, key),
    head: () => readHead(tx),
    append: (size, limit) => appendRows(tx, size, limit),
    insertNodes: (nodes) => insertNodes(tx, nodes),
    insertCheckpoint: async ({ size, root, note }) => {
      await tx.query('INSERT INTO log_checkpoint (size, root, note) VALUES ($1, $2, $3)', [size, root, note]);
    },
  };
}

async function readHead(database: Queryable): Promise<SignedTree | null> {
  const [row] = await database.query<{ size: string; root: Buffer; note: string }>(
    'SELECT size, root, note FROM log_checkpoint ORDER BY size DESC LIMIT 1',
  );
  return row === undefined ? null : { size: Number(row.size), root: row.root, note: row.note };
}

/** Throws `internal` where the log does not have them all. */
export async function readNodes(database: Queryable, ranges: readonly NodeRange[]): Promise<Hash[][]> {
  const rows = await database.query<{ hashes: Buffer[] }>(
    `SELECT CASE level
         WHEN 0 THEN ARRAY(SELECT leaf_hash FROM log_entry WHERE leaf_index >= start AND leaf_index < start + count
           ORDER BY leaf_index)
         ELSE ARRAY(SELECT hash FROM log_node WHERE log_node.level = given.level
           AND node_index >= start AND node_index < start + count ORDER BY node_index) END AS hashes
     FROM unnest($1::smallint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS given (level, start, count, place)
     ORDER BY place`,
    [ranges.map(({ level }) => level), ranges.map(({ start }) => start), ranges.map(({ count }) => count)],
  );
  return ranges.map(({ level, start, count }, i) => {
    const hashes = rows[i]?.hashes ?? [];
    if (hashes.length !== count)
      throw new CarnetError(
        'internal',
        `the log lacks hashes of level ${level} from ${start} on: ${hashes.length} of ${count}`,
      );
    return hashes;
  });
}

async function insertNodes(tx: Queryable, nodes: readonly CompleteNode[]): Promise<void> {
  if (nodes.length === 0) return;
  await tx.query(
    'INSERT INTO log_node (level, node_index, hash) SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[])',
    [nodes.map(({ level }) => level), nodes.map(({ index }) => index), nodes.map(({ hash }) => hash)],
  );
}
