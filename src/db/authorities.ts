import type { Issuance } from '../audit/issuance.ts';
import type { OperatorEvent } from '../audit/operator-event.ts';
import type { AuthorityKind, AuthorityState } from '../ca/authority.ts';
import type { AuthorityStore, AuthorityTransaction, StoredAuthority } from '../ca/authority-store.ts';
import type { KeyAlgorithm } from '../ca/signer.ts';
import { CarnetError } from '../errors.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import type { Database, Queryable } from './database.ts';
import { insertIssuances } from './issuances.ts';
import { notify, type Topic } from './listen.ts';
import { takeLock } from './locks.ts';
import { insertEvents } from './operator-events.ts';

interface AuthorityRow {
  readonly id: string;
  readonly kind: AuthorityKind;
  readonly state: AuthorityState;
  readonly parent_id: string;
  readonly key_algorithm: KeyAlgorithm;
  readonly certificate: Buffer;
  readonly sealed_key: Buffer | null;
  readonly not_before: Date;
  readonly not_after: Date;
  readonly created_at: Date;
}

interface BundleRow {
  readonly sequence: string;
  readonly x509_authorities: Buffer[];
}

/** The authorities and the bundles made of them. Changes are made by one transaction at a time, in all replicas. */
export class PostgresAuthorityStore implements AuthorityStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  list(): Promise<StoredAuthority[]> {
    return listAuthorities(this.#database);
  }

  async bundle(): Promise<Omit<TrustBundle, 'trustDomain'> | undefined> {
    const [row] = await this.#database.query<BundleRow>(
      'SELECT sequence, x509_authorities FROM trust_bundle ORDER BY sequence DESC LIMIT 1',
    );
    return row && { sequence: Number(row.sequence), x509Authorities: row.x509_authorities };
  }

  transact<T>(work: (tx: AuthorityTransaction) => Promise<T>): Promise<T> {
    return this.#database.transact(async (tx) => {
      await takeLock(tx, 'authorities');
      const changes = new Changes(tx);
      const result = await work(changes);
      for (const topic of changes.topics) await notify(tx, topic);
      return result;
    });
  }
}

class Changes implements AuthorityTransaction {
  /** What the replicas must be woken for. */
  readonly topics = new Set<Topic>();
  readonly #tx: Queryable;

  constructor(tx: Queryable) {
    this.#tx = tx;
  }

  list(): Promise<StoredAuthority[]> {
    return listAuthorities(this.#tx);
  }

  async insert(authority: Omit<StoredAuthority, 'createdAt'>): Promise<void> {
    await this.#tx.query(
      `INSERT INTO authority (id, kind, state, parent_id, key_algorithm, certificate, sealed_key, not_before, not_after)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
      [
        authority.id,
        authority.kind,
        authority.state,
        authority.parentId,
        authority.keyAlgorithm,
        authority.certificate,
        authority.sealedKey,
        authority.notBefore,
        authority.notAfter,
      ],
    );
    this.topics.add('authorities');
  }

  async setState(id: string, state: AuthorityState): Promise<void> {
    const rows = await this.#tx.query('UPDATE authority SET state = $2 WHERE id = $1 RETURNING id', [
      id,
      state,
    ]);
    if (rows.length === 0) throw new CarnetError('not_found', `there is no authority ${JSON.stringify(id)}`);
    this.topics.add('authorities');
  }

  async publishBundle(rootIds: readonly string[]): Promise<void> {
    const rows = await this.#tx.query(
      `INSERT INTO trust_bundle (sequence, root_ids, x509_authorities)
       SELECT (SELECT coalesce(max(sequence), 0) + 1 FROM trust_bundle), $1, array_agg(certificate ORDER BY position)
       FROM unnest($1::text[]) WITH ORDINALITY AS given (id, position) JOIN authority USING (id)
       HAVING count(*) = cardinality($1) RETURNING sequence`,
      [rootIds],
    );
    if (rows.length === 0)
      throw new CarnetError('not_found', `not all of these are authorities: ${rootIds.join(', ')}`);
    this.topics.add('bundle');
  }

  record(issuance: Issuance): Promise<void> {
    return insertIssuances(this.#tx, [issuance]);
  }

  event(event: OperatorEvent): Promise<void> {
    return insertEvents(this.#tx, [event]);
  }
}

async function listAuthorities(database: Queryable): Promise<StoredAuthority[]> {
  const rows = await database.query<AuthorityRow>(
    `SELECT id, kind, state, parent_id, key_algorithm, certificate, sealed_key, not_before, not_after, created_at
     FROM authority ORDER BY created_at, id`,
  );
  return rows.map((row) => ({
    id: row.id,
    kind: row.kind,
    state: row.state,
    parentId: row.parent_id,
    keyAlgorithm: row.key_algorithm,
    certificate: row.certificate,
    sealedKey: row.sealed_key,
    notBefore: row.not_before,
    notAfter: row.not_after,
    createdAt: row.created_at,
  }));
}
