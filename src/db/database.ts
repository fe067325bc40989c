import { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { CarnetError } from '../errors.ts';
import type { Logger } from '../log.ts';
import { CopyIn } from './copy-in.ts';
import { CopyOut, type OnRow } from './copy-out.ts';
import { leavesConnectionUsable, statementTimeout, toCarnetError, unavailable } from './database-error.ts';

export interface DatabaseOptions {
  /** `postgresql://…` */
  readonly url: string;
  /** What the connections serve, as `pg_stat_activity` shows it. */
  readonly name: string;
  readonly maxConnections: number;
  readonly log: Logger;
  /** For a statement; the server's own bound. Ours, for a server that doesn't answer at all, is a second more. */
  readonly statementTimeoutMs?: number;
}

/** Where statements go: each to a connection of its own, or all into one transaction. */
export interface Queryable {
  /** Rows as pg parses them: bigint as text, timestamptz as Date, bytea as Buffer, json parsed. */
  query<Row extends object>(text: string, values?: readonly unknown[]): Promise<Row[]>;
  /** `COPY … FROM STDIN`; `message` is a whole CopyData message. */
  copyIn(statement: string, message: Buffer): Promise<void>;
  /** `COPY … TO STDOUT (FORMAT binary)`: resolves when each row was handed to `onRow`, or rejects with what that threw. */
  copyOut(statement: string, onRow: OnRow): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 5_000;
const STATEMENT_TIMEOUT_MS = 10_000;
const ANSWER_GRACE_MS = 1_000;
/** A transaction whose owner was stopped (a suspended process, a lost network) may not hold locks for longer. */
const IDLE_IN_TRANSACTION_MS = 30_000;
const IDLE_CONNECTION_MS = 60_000;
const CLOSE_GRACE_MS = 3_000;
/** How many callers may wait for a connection; each waits no longer than it takes to make one. */
const MAX_WAITING = 1_000;
/**
 * Whatever is set for the role or the database: a commit that returns is durable (on the synchronous standbys
 * too, where there are any).
 */
const SAFE_COMMITS = 'SET synchronous_commit = on';

/**
 * A pool of connections to PostgreSQL, on which nothing waits without a bound and every failure has a code:
 * `database_unavailable`, `timeout`, `overloaded`, `invalid_argument` for a value that the database refuses.
 * After anything but a plain refusal a connection isn't used again.
 */
export class Database implements Queryable {
  readonly #pool: pg.Pool;
  readonly #sockets = new Set<Socket>();
  /** Connections that {@link SAFE_COMMITS} was said on. */
  readonly #prepared = new WeakSet<pg.PoolClient>();
  readonly #statementTimeoutMs: number;

  constructor(options: DatabaseOptions) {
    this.#statementTimeoutMs = options.statementTimeoutMs ?? STATEMENT_TIMEOUT_MS;
    this.#pool = new pg.Pool({
      connectionString: options.url,
      application_name: `carnet ${options.name}`,
      max: options.maxConnections,
      connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
      idleTimeoutMillis: IDLE_CONNECTION_MS,
      statement_timeout: this.#statementTimeoutMs,
      idle_in_transaction_session_timeout: IDLE_IN_TRANSACTION_MS,
      keepAlive: true,
      stream: () => this.#socket(),
    });
    this.#pool.on('error', (error) =>
      // The driver's error has the whole connection with it.
      options.log.warn({ reason: error.message }, 'an idle database connection was lost'),
    );
    // A connection in use reports its loss to the statement on it, and besides as an event that must be heard.
    this.#pool.on('connect', (client) => client.on('error', () => undefined));
  }

  query<Row extends object>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    return this.#withConnection((connection) => connection.query(text, values));
  }

  copyIn(statement: string, message: Buffer): Promise<void> {
    return this.#withConnection((connection) => connection.copyIn(statement, message));
  }

  copyOut(statement: string, onRow: OnRow): Promise<void> {
    return this.#withConnection((connection) => connection.copyOut(statement, onRow));
  }

  /**
   * Runs `work` in a transaction (READ COMMITTED), commits when it resolves and rolls back when it rejects. If
   * the commit itself fails its outcome is unknown, and counts as a failure.
   */
  transact<T>(work: (tx: Queryable) => Promise<T>): Promise<T> {
    return this.#withConnection(async (connection) => {
      await connection.query('BEGIN');
      try {
        const result = await work(connection);
        await connection.commit();
        return result;
      } catch (error) {
        // Where it fails the connection goes away, and the transaction with it.
        if (connection.usable) await connection.query('ROLLBACK').catch(() => undefined);
        throw error;
      }
    });
  }

  /** Waits for the statements under way, for 3 s at most, and cuts what is left. */
  async close(): Promise<void> {
    const grace = new AbortController();
    await Promise.race([
      this.#pool.end(),
      sleep(CLOSE_GRACE_MS, undefined, { signal: grace.signal }).catch(() => undefined),
    ]);
    grace.abort();
    for (const socket of this.#sockets) socket.destroy();
  }

  async #withConnection<T>(work: (connection: Connection) => Promise<T>): Promise<T> {
    if (this.#pool.waitingCount >= MAX_WAITING)
      throw new CarnetError('overloaded', `${MAX_WAITING} callers wait for the database: try again later`);
    const client = await this.#pool.connect().catch((error: unknown) => {
      throw connectError(error);
    });
    const connection = new Connection(client, this.#statementTimeoutMs + ANSWER_GRACE_MS);
    try {
      if (!this.#prepared.has(client)) await connection.query(SAFE_COMMITS);
      this.#prepared.add(client);
      return await work(connection);
    } finally {
      client.release(!connection.usable);
    }
  }

  #socket(): Socket {
    const socket = new Socket();
    this.#sockets.add(socket);
    socket.once('close', () => this.#sockets.delete(socket));
    return socket;
  }
}

/** One connection while it is borrowed from the pool. */
class Connection implements Queryable {
  /** False once something happened after which the connection must not go back to the pool. */
  usable = true;
  readonly #client: pg.PoolClient;
  readonly #answerTimeoutMs: number;

  constructor(client: pg.PoolClient, answerTimeoutMs: number) {
    this.#client = client;
    this.#answerTimeoutMs = answerTimeoutMs;
  }

  async query<Row extends object>(text: string, values: readonly unknown[] = []): Promise<Row[]> {
    const { rows } = await this.#answer(this.#ask<Row>(text, values));
    return rows;
  }

  async copyIn(statement: string, message: Buffer): Promise<void> {
    await this.#answer(this.#client.query(new CopyIn(statement, message)).done);
  }

  async copyOut(statement: string, onRow: OnRow): Promise<void> {
    await this.#answer(this.#client.query(new CopyOut(statement, onRow)).done);
  }

  /** PostgreSQL answers COMMIT in a failed transaction with a rollback, and no error. */
  async commit(): Promise<void> {
    const { command } = await this.#answer(this.#ask('COMMIT', []));
    if (command !== 'COMMIT') throw new Error('a transaction went on after one of its statements had failed');
  }

  /** By a promise of our own: of the driver's, each keeps the rows of the next from the young generation's collection. */
  #ask<Row extends object>(text: string, values: readonly unknown[]): Promise<pg.QueryResult<Row>> {
    return new Promise((resolve, reject) => {
      this.#client.query<Row, unknown[]>(text, [...values], (error: Error | null | undefined, result) =>
        error ? reject(error) : resolve(result),
      );
    });
  }

  /** The server's own timeout doesn't help with a server that is stopped, or that no packet reaches. */
  async #answer<T>(answer: Promise<T>): Promise<T> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(statementTimeout(this.#answerTimeoutMs)), this.#answerTimeoutMs);
    try {
      return await Promise.race([answer, late]);
    } catch (error) {
      if (!leavesConnectionUsable(error)) this.usable = false;
      throw toCarnetError(error);
    } finally {
      clearTimeout(timer);
    }
  }
}

function connectError(error: unknown): CarnetError {
  // pg-pool's words for a wait until all of its connections were in use for too long.
  if (error instanceof Error && error.message === 'timeout exceeded when trying to connect')
    return new CarnetError('overloaded', 'all connections to the database are in use: try again later');
  return unavailable(error);
}
