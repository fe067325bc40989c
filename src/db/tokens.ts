import { randomUUID } from 'node:crypto';
import type { Role } from '../api/role.ts';
import type { NewToken, Token, TokenStore } from '../api/token.ts';
import { CarnetError } from '../errors.ts';
import type { Database } from './database.ts';
import { insertEvents } from './operator-events.ts';

interface TokenRow {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
  readonly scopes: string[] | null;
  readonly created_at: Date;
  readonly expires_at: Date | null;
  readonly revoked_at: Date | null;
  readonly last_used_at: Date | null;
}

const COLUMNS = 'id, name, role, scopes, created_at, expires_at, revoked_at, last_used_at';

/** The bearer tokens, by their hashes. A name is never given twice: history speaks of tokens by name. */
export class PostgresTokenStore implements TokenStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  create(token: NewToken, actor: string): Promise<Token> {
    return this.#database.transact(async (tx) => {
      const [row] = await tx.query<TokenRow>(
        `INSERT INTO token (id, name, role, scopes, expires_at, sha256) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT DO NOTHING RETURNING ${COLUMNS}`,
        [randomUUID(), token.name, token.role, token.scopes, token.expiresAt, token.sha256],
      );
      if (!row)
        throw new CarnetError(
          'already_exists',
          `there is or was a token named ${JSON.stringify(token.name)}: choose another name`,
        );
      const created = tokenOf(row);
      await insertEvents(tx, [
        { actor, action: 'token.create', subject: row.id, before: null, after: { ...created }, reason: '' },
      ]);
      return created;
    });
  }

  async find(sha256: Uint8Array): Promise<Token | undefined> {
    const [row] = await this.#database.query<TokenRow>(`SELECT ${COLUMNS} FROM token WHERE sha256 = $1`, [
      sha256,
    ]);
    return row && tokenOf(row);
  }

  async used(id: string, at: Date): Promise<void> {
    await this.#database.query(
      `UPDATE token SET last_used_at = $2
       WHERE id = $1 AND (last_used_at IS NULL OR last_used_at <= $2::timestamptz - interval '1 minute')`,
      [id, at],
    );
  }

  async list(): Promise<Token[]> {
    const rows = await this.#database.query<TokenRow>(`SELECT ${COLUMNS} FROM token ORDER BY created_at, id`);
    return rows.map(tokenOf);
  }

  /** A token that is revoked already stays as it is. */
  revoke(id: string, actor: string): Promise<Token> {
    return this.#database.transact(async (tx) => {
      const [row] = await tx.query<TokenRow>(`SELECT ${COLUMNS} FROM token WHERE id = $1 FOR UPDATE`, [id]);
      if (!row) throw new CarnetError('not_found', `there is no token ${JSON.stringify(id)}`);
      if (row.revoked_at) return tokenOf(row);
      const [revoked = row] = await tx.query<TokenRow>(
        `UPDATE token SET revoked_at = statement_timestamp() WHERE id = $1 RETURNING ${COLUMNS}`,
        [id],
      );
      const [before, after] = [tokenOf(row), tokenOf(revoked)];
      await insertEvents(tx, [
        {
          actor,
          action: 'token.revoke',
          subject: id,
          before: { ...before },
          after: { ...after },
          reason: '',
        },
      ]);
      return after;
    });
  }
}

function tokenOf(row: TokenRow): Token {
  return {
    id: row.id,
    name: row.name,
    role: row.role,
    scopes: row.scopes,
    createdAt: row.created_at,
    expiresAt: row.expires_at,
    revokedAt: row.revoked_at,
    lastUsedAt: row.last_used_at,
  };
}
