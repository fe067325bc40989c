import type { TokenUses } from '../attestation/node/token-uses.ts';
import { CarnetError } from '../errors.ts';
import type { Queryable } from './database.ts';

/** Ours: of tokens that have not ended, some 10 MB. A fleet of 10,000 nodes may be attested ten times over. */
const MAX_REMEMBERED = 100_000;

/** Remembers uses for all servers: whoever inserts a token first has it, and a restart forgets none. */
export class PostgresTokenUses implements TokenUses {
  readonly #database: Queryable;
  readonly #maxRemembered: number;

  constructor(database: Queryable, maxRemembered = MAX_REMEMBERED) {
    this.#database = database;
    this.#maxRemembered = maxRemembered;
  }

  async isFirst(sha256: Uint8Array, until: number): Promise<boolean> {
    const [used] = await this.#database.query(
      `INSERT INTO token_use (sha256, ends_at)
       SELECT $1, to_timestamp($2::float8 / 1000) WHERE (SELECT count(*) FROM token_use) < $3
       ON CONFLICT DO NOTHING RETURNING 1`,
      [sha256, until, this.#maxRemembered],
    );
    if (used !== undefined) return true;
    const [known] = await this.#database.query('SELECT FROM token_use WHERE sha256 = $1', [sha256]);
    if (known !== undefined) return false;
    throw new CarnetError(
      'overloaded',
      `${this.#maxRemembered} tokens were used, and have not ended yet: try again later`,
    );
  }
}

/** Forgets tokens that have ended, for servers too whose clocks are up to five minutes behind the database's. */
export async function pruneTokenUses(database: Queryable): Promise<void> {
  await database.query("DELETE FROM token_use WHERE ends_at < statement_timestamp() - interval '5 minutes'");
}
