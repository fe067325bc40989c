import type { AuthorityState } from '../ca/authority.ts';
import type { NewJwtKey, StoredJwtKey } from '../ca/jwt-key.ts';
import type { KeyAlgorithm } from '../ca/signer.ts';
import type { Outstanding } from '../rotation/fleet.ts';
import type { Queryable } from './database.ts';

interface JwtKeyRow {
  readonly id: string;
  readonly state: AuthorityState;
  readonly key_algorithm: KeyAlgorithm;
  readonly public_key: Buffer;
  readonly sealed_key: Buffer | null;
  readonly key_reference: string | null;
  readonly not_before: Date;
  readonly not_after: Date;
  readonly published_sequence: string | null;
  readonly created_at: Date;
  readonly state_since: Date;
}

/** Every key that signs, signed or is to sign JWT-SVIDs, by time of making. */
export async function listJwtKeys(database: Queryable): Promise<StoredJwtKey[]> {
  const rows = await database.query<JwtKeyRow>(
    `SELECT id, state, key_algorithm, public_key, sealed_key, key_reference, not_before, not_after,
       published_sequence, created_at, state_since
     FROM authority WHERE kind = 'jwt' ORDER BY created_at, id`,
  );
  return rows.map((row) => ({
    id: row.id,
    kind: 'jwt',
    state: row.state,
    keyAlgorithm: row.key_algorithm,
    publicKey: row.public_key,
    sealedKey: row.sealed_key,
    keyReference: row.key_reference,
    notBefore: row.not_before,
    notAfter: row.not_after,
    publishedSequence: row.published_sequence === null ? null : Number(row.published_sequence),
    createdAt: row.created_at,
    stateSince: row.state_since,
  }));
}

/** Throws `already_exists`. */
export async function insertJwtKey(tx: Queryable, key: NewJwtKey): Promise<void> {
  await tx.query(
    `INSERT INTO authority (id, kind, state, parent_id, key_algorithm, public_key, sealed_key, key_reference,
       not_before, not_after)
     VALUES ($1, 'jwt', $2, $1, $3, $4, $5, $6, $7, $8)`,
    [
      key.id,
      key.state,
      key.keyAlgorithm,
      key.publicKey,
      key.sealedKey,
      key.keyReference,
      key.notBefore,
      key.notAfter,
    ],
  );
}

/** A token is handed on, so it counts until it ends, whatever became of its workload. Read by (not_after). */
export async function outstandingTokensOf(database: Queryable, keyId: string): Promise<Outstanding> {
  const [row] = await database.query<{ count: string; until: Date | null }>(
    `SELECT count(*) AS count, max(not_after) AS until FROM issuance WHERE not_after > now() AND authority_id = $1`,
    [keyId],
  );
  return { count: Number(row?.count ?? 0), until: row?.until?.getTime() ?? null };
}
