import type { StoredLogKey } from '../audit/log-store.ts';
import type { Queryable } from './database.ts';

/** Null before the log has begun. */
export async function findLogKey(database: Queryable): Promise<StoredLogKey | null> {
  const [row] = await database.query<{
    id: string;
    origin: string;
    public_key: Buffer;
    sealed_key: Buffer | null;
    key_reference: string | null;
  }>('SELECT id, origin, public_key, sealed_key, key_reference FROM log_key');
  if (row === undefined) return null;
  const { id, origin, public_key: publicKey, sealed_key: sealedKey, key_reference: keyReference } = row;
  return { id, origin, keyAlgorithm: 'ed25519', publicKey, sealedKey, keyReference };
}

/** Throws `already_exists`. */
export async function insertLogKey(tx: Queryable, key: StoredLogKey): Promise<void> {
  await tx.query(
    'INSERT INTO log_key (id, origin, public_key, sealed_key, key_reference) VALUES ($1, $2, $3, $4, $5)',
    [key.id, key.origin, key.publicKey, key.sealedKey, key.keyReference],
  );
}
