import { CarnetError } from '../errors.ts';
import type { SinkName } from '../forward/sink.ts';
import type { ForwardFrom, ForwardStore, SinkState } from '../forward/store.ts';
import type { Database, Queryable } from './database.ts';
import { PostgresExportSource } from './export-source.ts';
import { KINDS } from './log-rows.ts';
import { insertEvents } from './operator-events.ts';

const LOG_SIZE = '(SELECT coalesce(max(size), 0) FROM log_checkpoint)';

interface SinkRow {
  readonly name: SinkName;
  readonly target: string;
  readonly position: string;
  readonly size: string;
  readonly lag_seconds: number | null;
  readonly acknowledged_at: Date | null;
  readonly failures: number;
  readonly failing_since: Date | null;
  readonly problem: string | null;
}

/** How far each sink has got, in PostgreSQL, where the log is. */
export class PostgresForwardStore implements ForwardStore {
  readonly #database: Database;
  readonly #records: PostgresExportSource;

  constructor(database: Database) {
    this.#database = database;
    this.#records = new PostgresExportSource(database);
  }

  async create({ name, target }: { name: SinkName; target: string }, from: ForwardFrom): Promise<void> {
    await this.#database.query(
      `INSERT INTO forward_sink (name, target, position) VALUES ($1, $2, ${from === 'now' ? LOG_SIZE : '0'})
       ON CONFLICT (name) DO UPDATE SET target = excluded.target WHERE forward_sink.target <> excluded.target`,
      [name, target],
    );
  }

  async waiting(name: SinkName, limit: number): ReturnType<ForwardStore['waiting']> {
    const position = await positionOf(this.#database, name);
    const range = { start: position, end: position + limit };
    return { position, rows: await this.#records.rows(range, { kinds: KINDS }, limit) };
  }

  async acknowledge(name: SinkName, from: number, to: number): Promise<boolean> {
    const rows = await this.#database.query(
      `UPDATE forward_sink SET position = $3, acknowledged_at = statement_timestamp(),
         failures = 0, failing_since = NULL, problem = NULL
       WHERE name = $1 AND position = $2 RETURNING name`,
      [name, from, to],
    );
    return rows.length > 0;
  }

  async sendAgain(name: SinkName, from: number, to: number): Promise<void> {
    const values = [name, from, to];
    await this.#database.query(
      'UPDATE forward_sink SET position = $3 WHERE name = $1 AND position = $2',
      values,
    );
  }

  async noteFailure(name: SinkName, problem: string): Promise<void> {
    await this.#database.query(
      `UPDATE forward_sink SET failures = failures + 1, problem = $2,
         failing_since = coalesce(failing_since, statement_timestamp()) WHERE name = $1`,
      [name, problem],
    );
  }

  list(): Promise<SinkState[]> {
    return listSinks(this.#database);
  }

  move(name: string, position: number, reason: string, actor: string): Promise<SinkState> {
    return this.#database.transact(async (tx) => {
      const before = await positionOf(tx, name, 'FOR UPDATE');
      const [row] = await tx.query(
        `UPDATE forward_sink SET position = $2, failures = 0, failing_since = NULL, problem = NULL
         WHERE name = $1 AND $2 <= ${LOG_SIZE} RETURNING name`,
        [name, position],
      );
      if (row === undefined)
        throw new CarnetError('invalid_argument', `the log has no entry ${position} yet, nor one before it`);
      const change = { before: { position: before }, after: { position } };
      await insertEvents(tx, [{ actor, action: 'sink.move', subject: name, ...change, reason }]);
      const moved = (await listSinks(tx)).find((sink) => sink.name === name);
      if (moved === undefined) throw unknown(name);
      return moved;
    });
  }
}

async function positionOf(database: Queryable, name: string, lock = ''): Promise<number> {
  const [row] = await database.query<{ position: string }>(
    `SELECT position FROM forward_sink WHERE name = $1 ${lock}`,
    [name],
  );
  if (row === undefined) throw unknown(name);
  return Number(row.position);
}

async function listSinks(database: Queryable): Promise<SinkState[]> {
  const rows = await database.query<SinkRow>(
    `SELECT name, target, position, ${LOG_SIZE} AS size, acknowledged_at, failures, failing_since, problem,
       extract(epoch FROM statement_timestamp() - row_recorded_at)::float8 AS lag_seconds
     FROM forward_sink LEFT JOIN log_entry ON leaf_index = position ORDER BY name`,
  );
  return rows.map((row) => ({
    name: row.name,
    target: row.target,
    position: Number(row.position),
    lagEntries: Math.max(0, Number(row.size) - Number(row.position)),
    lagSeconds: Math.max(0, row.lag_seconds ?? 0),
    acknowledgedAt: row.acknowledged_at,
    failures: row.failures,
    failingSince: row.failing_since,
    problem: row.problem,
  }));
}

function unknown(name: string): CarnetError {
  return new CarnetError('not_found', `nothing was ever forwarded to a sink named ${JSON.stringify(name)}`);
}
