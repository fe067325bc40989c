import type { KeyAlgorithm } from '../ca/signer.ts';
import type { UpstreamRequest } from '../ca/upstream-request.ts';
import type { Queryable } from './database.ts';

interface RequestRow {
  readonly id: string;
  readonly key_algorithm: KeyAlgorithm;
  readonly sealed_key: Buffer | null;
  readonly key_reference: string | null;
  readonly csr: Buffer;
}

/** The request that waits for an outside CA's answer, if there is one. */
export async function findUpstreamRequest(database: Queryable): Promise<UpstreamRequest | null> {
  const [row] = await database.query<RequestRow>(
    'SELECT id, key_algorithm, sealed_key, key_reference, csr FROM upstream_request',
  );
  if (row === undefined) return null;
  const { id, key_algorithm, sealed_key, key_reference, csr } = row;
  return { id, keyAlgorithm: key_algorithm, sealedKey: sealed_key, keyReference: key_reference, csr };
}

/** Puts `request`, or none, in the place of the one there is. */
export async function replaceUpstreamRequest(tx: Queryable, request: UpstreamRequest | null): Promise<void> {
  await tx.query('DELETE FROM upstream_request');
  if (request === null) return;
  const { id, keyAlgorithm, sealedKey, keyReference, csr } = request;
  await tx.query(
    'INSERT INTO upstream_request (id, key_algorithm, sealed_key, key_reference, csr) VALUES ($1, $2, $3, $4, $5)',
    [id, keyAlgorithm, sealedKey, keyReference, csr],
  );
}
