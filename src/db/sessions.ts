import { randomUUID } from 'node:crypto';
import type { Role } from '../api/role.ts';
import type { NewSession, Session, SessionStore, SignIn } from '../api/session.ts';
import type { OperatorEvent } from '../audit/operator-event.ts';
import { CarnetError } from '../errors.ts';
import type { Database, Queryable } from './database.ts';
import { insertEvents } from './operator-events.ts';

/** Browsers of one person, or of all who share a token: the oldest gives way. */
const MAX_PER_ACTOR = 20;
/** A hundred times the people who run a fleet; some 5 MB. */
const MAX_SESSIONS = 10_000;

interface SessionRow {
  readonly id: string;
  readonly actor: string;
  readonly role: Role;
  readonly scopes: string[] | null;
  readonly method: SignIn;
  readonly token_id: string | null;
  readonly created_at: Date;
  readonly last_used_at: Date;
  readonly expires_at: Date;
}

const COLUMNS = 'id, actor, role, scopes, method, token_id, created_at, last_used_at, expires_at';
/** Its token, if it has one, may still be used: whoever revokes that ends what was opened with it. */
const HAS_ITS_TOKEN = `(token_id IS NULL OR EXISTS (
  SELECT FROM token WHERE token.id = token_id AND token.revoked_at IS NULL))`;

/** Browsers' sessions, by the hashes of their secrets, for all servers. */
export class PostgresSessionStore implements SessionStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  create(session: NewSession, details: Readonly<Record<string, unknown>>): Promise<Session> {
    const { sha256, ...fields } = session;
    const { actor, role, scopes, method, tokenId, createdAt, expiresAt } = fields;
    return this.#database.transact(async (tx) => {
      await makeRoom(tx, actor);
      const [row] = await tx.query<SessionRow>(
        `INSERT INTO session (id, sha256, actor, role, scopes, method, token_id, created_at, last_used_at, expires_at)
         SELECT given.*, $9 FROM (VALUES ($1, $2::bytea, $3, $4, $5::text[], $6, $7, $8::timestamptz, $8::timestamptz))
           AS given (id, sha256, actor, role, scopes, method, token_id, created_at, last_used_at)
         WHERE (SELECT count(*) FROM session) < $10 AND ${HAS_ITS_TOKEN} RETURNING ${COLUMNS}`,
        [randomUUID(), sha256, actor, role, scopes, method, tokenId, createdAt, expiresAt, MAX_SESSIONS],
      );
      if (row === undefined)
        throw new CarnetError('overloaded', 'no session can be opened now: try again later');
      const created = sessionOf(row);
      await insertEvents(tx, [
        {
          actor,
          action: 'session.create',
          subject: row.id,
          before: null,
          after: { ...created, ...details },
          reason: '',
        },
      ]);
      return created;
    });
  }

  async find(sha256: Uint8Array): Promise<Session | undefined> {
    const [row] = await this.#database.query<SessionRow>(
      `SELECT ${COLUMNS} FROM session WHERE sha256 = $1 AND ${HAS_ITS_TOKEN}`,
      [sha256],
    );
    return row && sessionOf(row);
  }

  async used(id: string, at: Date): Promise<void> {
    await this.#database.query(
      `UPDATE session SET last_used_at = $2 WHERE id = $1 AND last_used_at <= $2::timestamptz - interval '1 minute'`,
      [id, at],
    );
  }

  async list(now: Date, usedSince: Date): Promise<Session[]> {
    const rows = await this.#database.query<SessionRow>(
      `SELECT ${COLUMNS} FROM session
       WHERE expires_at > $1 AND last_used_at > $2 AND ${HAS_ITS_TOKEN}
       ORDER BY created_at, id`,
      [now, usedSince],
    );
    return rows.map(sessionOf);
  }

  end(id: string, actor: string): Promise<boolean> {
    return this.#database.transact(async (tx) => {
      const [row] = await tx.query<SessionRow>(`DELETE FROM session WHERE id = $1 RETURNING ${COLUMNS}`, [
        id,
      ]);
      if (row === undefined) return false;
      await insertEvents(tx, [endOf(sessionOf(row), actor, '')]);
      return true;
    });
  }
}

/** Forgets sessions that ended, for servers too whose clocks are up to five minutes behind the database's. */
export async function pruneSessions(database: Queryable): Promise<void> {
  await database.query(
    `DELETE FROM session WHERE expires_at < statement_timestamp() - interval '5 minutes'
       OR last_used_at < statement_timestamp() - interval '20 minutes'`,
  );
}

async function makeRoom(tx: Queryable, actor: string): Promise<void> {
  const oldest = await tx.query<SessionRow>(
    `DELETE FROM session WHERE actor = $1 AND id NOT IN (
       SELECT id FROM session WHERE actor = $1 ORDER BY created_at DESC, id LIMIT $2) RETURNING ${COLUMNS}`,
    [actor, MAX_PER_ACTOR - 1],
  );
  await insertEvents(
    tx,
    oldest.map((row) => endOf(sessionOf(row), actor, 'made room for a newer one')),
  );
}

function endOf(session: Session, actor: string, reason: string): OperatorEvent {
  return { actor, action: 'session.end', subject: session.id, before: { ...session }, after: null, reason };
}

function sessionOf(row: SessionRow): Session {
  return {
    id: row.id,
    actor: row.actor,
    role: row.role,
    scopes: row.scopes,
    method: row.method,
    tokenId: row.token_id,
    createdAt: row.created_at,
    lastUsedAt: row.last_used_at,
    expiresAt: row.expires_at,
  };
}
