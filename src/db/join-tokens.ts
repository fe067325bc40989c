import type { JoinTokenRecord, JoinTokenStore, NewJoinToken } from '../agent/server/join-token-store.ts';
import { CarnetError } from '../errors.ts';
import type { Database, Queryable } from './database.ts';
import { insertEvents } from './operator-events.ts';
import { isServerNode } from './server-nodes.ts';

interface JoinTokenRow {
  readonly id: string;
  readonly node: string | null;
  readonly selectors: string[];
  readonly actor: string;
  readonly created_at: Date;
  readonly expires_at: Date;
  readonly used_at: Date | null;
  readonly used_by: string | null;
  readonly revoked_at: Date | null;
  readonly expired: boolean;
}

/** Judged by the database's clock, which all servers share. */
const COLUMNS = `id, node, selectors, actor, created_at, expires_at, used_at, used_by, revoked_at,
  expires_at <= statement_timestamp() AS expired`;
/** Ours: each is a way in. A fleet of 10,000 nodes may be joined at once. */
const MAX_USABLE = 10_000;
/** Ours: for so long a refusal says who used the token, and the list shows it. */
const KEPT = '7 days';
/** Ours: of one wake, which is each minute; a second's work at most. */
const MAX_FORGOTTEN = 1000;

export class PostgresJoinTokenStore implements JoinTokenStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  create({ id, sha256, node, selectors, expiresAt }: NewJoinToken, actor: string): Promise<JoinTokenRecord> {
    return this.#database.transact(async (tx) => {
      await checkRoom(tx);
      if (node !== null) await checkMayJoin(tx, node);
      const [row] = await tx.query<JoinTokenRow>(
        `INSERT INTO join_token (id, sha256, node, selectors, expires_at, actor)
         VALUES ($1, $2, $3, $4, $5, $6) RETURNING ${COLUMNS}`,
        [id, sha256, node, selectors, expiresAt, actor],
      );
      if (row === undefined) throw new Error('an INSERT returned no row');
      const after = { node, selectors, expires_at: expiresAt };
      await insertEvents(tx, [
        { actor, action: 'join-token.create', subject: id, before: null, after, reason: '' },
      ]);
      return recordOf(row);
    });
  }

  async list(): Promise<JoinTokenRecord[]> {
    const rows = await this.#database.query<JoinTokenRow>(
      `SELECT ${COLUMNS} FROM join_token ORDER BY created_at, id`,
    );
    return rows.map(recordOf);
  }

  revoke(id: string, actor: string): Promise<JoinTokenRecord> {
    return this.#database.transact(async (tx) => {
      const [found] = await tx.query<JoinTokenRow>(
        `SELECT ${COLUMNS} FROM join_token WHERE id = $1 FOR UPDATE`,
        [id],
      );
      if (found === undefined)
        throw new CarnetError('not_found', `there is no join token ${JSON.stringify(id)}`);
      if (found.used_at !== null || found.revoked_at !== null) return recordOf(found);
      const [row = found] = await tx.query<JoinTokenRow>(
        `UPDATE join_token SET revoked_at = statement_timestamp() WHERE id = $1 RETURNING ${COLUMNS}`,
        [id],
      );
      await insertEvents(tx, [
        { actor, action: 'join-token.revoke', subject: id, before: null, after: null, reason: '' },
      ]);
      return recordOf(row);
    });
  }

  async use(sha256: Uint8Array): Promise<JoinTokenRecord> {
    const [used] = await this.#database.query<JoinTokenRow>(
      `UPDATE join_token SET used_at = statement_timestamp(), used_by = coalesce(node, 'node-' || id)
       WHERE sha256 = $1 AND used_at IS NULL AND revoked_at IS NULL AND expires_at > statement_timestamp()
       RETURNING ${COLUMNS}`,
      [sha256],
    );
    if (used !== undefined) return recordOf(used);
    const [found] = await this.#database.query<JoinTokenRow>(
      `SELECT ${COLUMNS} FROM join_token WHERE sha256 = $1`,
      [sha256],
    );
    throw refusalOf(found);
  }
}

/**
 * Forgets tokens that were used, taken back or expired a week ago: operator events have their making, and the certificate
 * of the agent that a token let in has its ID. Of two servers that do so at once, each takes others.
 */
export async function pruneJoinTokens(database: Queryable, max = MAX_FORGOTTEN): Promise<void> {
  await database.query(
    `DELETE FROM join_token WHERE id = ANY (ARRAY(
       SELECT id FROM join_token
       WHERE least(used_at, revoked_at, expires_at) < statement_timestamp() - interval '${KEPT}'
       ORDER BY least(used_at, revoked_at, expires_at) LIMIT $1 FOR UPDATE SKIP LOCKED))`,
    [max],
  );
}

function refusalOf(found: JoinTokenRow | undefined): CarnetError {
  const next = 'make another with carnet join-token create';
  if (found?.used_at)
    return new CarnetError(
      'join_token_used',
      `join token ${found.id} was used already, at ${found.used_at.toISOString()} by ${found.used_by}: ${next}; if that was not you, ban that agent`,
    );
  if (found?.revoked_at)
    return new CarnetError('join_token_unknown', `join token ${found.id} was revoked: ${next}`);
  if (found?.expired)
    return new CarnetError(
      'join_token_expired',
      `join token ${found.id} expired at ${found.expires_at.toISOString()}: ${next}`,
    );
  return new CarnetError('join_token_unknown', `no such join token was made here: ${next}`);
}

async function checkRoom(tx: Queryable): Promise<void> {
  const [row] = await tx.query<{ count: string }>(
    `SELECT count(*) AS count FROM join_token
     WHERE used_at IS NULL AND revoked_at IS NULL AND expires_at > statement_timestamp()`,
  );
  if (Number(row?.count) >= MAX_USABLE)
    throw new CarnetError(
      'conflict',
      `${row?.count} join tokens can be used now, and no more may: delete some`,
    );
}

async function checkMayJoin(tx: Queryable, node: string): Promise<void> {
  if (await isServerNode(tx, node))
    throw new CarnetError('conflict', `a server is the agent of ${node} itself: give the node another name`);
  const banned = await tx.query('SELECT FROM agent WHERE node = $1 AND banned_at IS NOT NULL', [node]);
  if (banned.length > 0)
    throw new CarnetError(
      'conflict',
      `the agent of ${node} is banned, and no token would let it in: first lift the ban with carnet agents unban ${node}`,
    );
}

function recordOf(row: JoinTokenRow): JoinTokenRecord {
  return {
    id: row.id,
    node: row.node,
    selectors: row.selectors,
    actor: row.actor,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    usedAt: row.used_at,
    usedBy: row.used_by,
    revokedAt: row.revoked_at,
  };
}
