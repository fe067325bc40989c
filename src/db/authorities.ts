import type { Issuance } from '../audit/issuance.ts';
import type { OperatorEvent } from '../audit/operator-event.ts';
import type { AuthorityKind, AuthorityState } from '../ca/authority.ts';
import type {
  AuthorityStore,
  AuthorityTransaction,
  NewAuthority,
  RevokedCertificate,
  StoredAuthority,
  StoredCrl,
} from '../ca/authority-store.ts';
import type { NewJwtKey, StoredJwtKey } from '../ca/jwt-key.ts';
import type { StoredKey } from '../ca/key-store.ts';
import type { KeyAlgorithm } from '../ca/signer.ts';
import type { UpstreamRequest } from '../ca/upstream-request.ts';
import { CarnetError } from '../errors.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import type { Denial } from '../revocation/denial.ts';
import type { Consumer, Outstanding } from '../rotation/fleet.ts';
import type { NewRotation, Rotation, RotationChange } from '../rotation/rotation.ts';
import type { CrlEntry } from '../x509/crl.ts';
import type { RevocationReason } from '../x509/revocation-reason.ts';
import { agentPresenters } from './agent-presenters.ts';
import { federatedConsumers } from './bundle-served.ts';
import { listConsumers, outstandingOf } from './consumers.ts';
import type { Database, Queryable } from './database.ts';
import { insertIssuances } from './issuances.ts';
import { insertJwtKey, listJwtKeys, outstandingTokensOf } from './jwt-keys.ts';
import { notify, type Topic } from './listen.ts';
import { takeLock } from './locks.ts';
import { findLogKey } from './log-keys.ts';
import { insertEvents } from './operator-events.ts';
import {
  findIssuance,
  insertDenial,
  liftDenial,
  listDenials,
  listRevoked,
  type NewDenial,
  revokeCertificate,
  revokeMatching,
} from './revocations.ts';
import { insertRotation, listRotations, rotatedSince, updateRotation } from './rotations.ts';
import { findUpstreamRequest, replaceUpstreamRequest } from './upstream-requests.ts';

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
  readonly key_reference: string | null;
  readonly cross_certificate: Buffer | null;
  readonly intermediates: Buffer[];
  readonly published_sequence: string | null;
  readonly state_since: Date;
}

interface BundleRow {
  readonly sequence: string;
  readonly x509_sequence: string | null;
  readonly x509_authorities: Buffer[];
  readonly crls: Buffer[];
  readonly jwt_ids: string[];
  readonly jwt_keys: Buffer[];
}

interface CrlRow {
  readonly authority_id: string;
  readonly number: string;
  readonly crl: Buffer;
  readonly this_update: Date;
  readonly next_update: Date;
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

  jwtKeys(): Promise<StoredJwtKey[]> {
    return listJwtKeys(this.#database);
  }

  async bundle(): Promise<Omit<TrustBundle, 'trustDomain'> | undefined> {
    const [row] = await this.#database.query<BundleRow>(
      `SELECT sequence, x509_sequence, x509_authorities, crls, jwt_ids, jwt_keys
       FROM trust_bundle ORDER BY sequence DESC LIMIT 1`,
    );
    return row && bundleOf(row);
  }

  rotations(): Promise<Rotation[]> {
    return listRotations(this.#database);
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

  async insert(authority: NewAuthority): Promise<void> {
    await this.#tx.query(
      `INSERT INTO authority (id, kind, state, parent_id, key_algorithm, certificate, sealed_key, not_before, not_after,
         key_reference, cross_certificate, intermediates)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
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
        authority.keyReference,
        authority.crossCertificate,
        authority.intermediates,
      ],
    );
    this.topics.add('authorities');
  }

  jwtKeys(): Promise<StoredJwtKey[]> {
    return listJwtKeys(this.#tx);
  }

  async insertJwtKey(key: NewJwtKey): Promise<void> {
    await insertJwtKey(this.#tx, key);
    this.topics.add('authorities');
  }

  async setState(id: string, state: AuthorityState): Promise<void> {
    await this.#change(id, 'state = $2, state_since = statement_timestamp()', state);
  }

  async reseal(id: string, sealedKey: Uint8Array): Promise<void> {
    await this.#change(id, 'sealed_key = $2', sealedKey);
  }

  async destroyKey(id: string): Promise<void> {
    await this.#change(id, 'sealed_key = $2, key_reference = NULL', null);
  }

  logKey(): Promise<Pick<StoredKey, 'id' | 'sealedKey'> | null> {
    return findLogKey(this.#tx);
  }

  async resealLogKey(sealedKey: Uint8Array): Promise<void> {
    await this.#tx.query('UPDATE log_key SET sealed_key = $1', [sealedKey]);
  }

  upstreamRequest(): Promise<UpstreamRequest | null> {
    return findUpstreamRequest(this.#tx);
  }

  replaceUpstreamRequest(request: UpstreamRequest | null): Promise<void> {
    return replaceUpstreamRequest(this.#tx, request);
  }

  async crls(): Promise<StoredCrl[]> {
    const rows = await this.#tx.query<CrlRow>(
      `SELECT DISTINCT ON (authority_id) authority_id, number, crl, this_update, next_update
       FROM crl ORDER BY authority_id, number DESC`,
    );
    return rows.map((row) => ({
      authorityId: row.authority_id,
      number: Number(row.number),
      crl: row.crl,
      thisUpdate: row.this_update,
      nextUpdate: row.next_update,
    }));
  }

  async insertCrl({ authorityId, number, crl, thisUpdate, nextUpdate }: StoredCrl): Promise<void> {
    await this.#tx.query(
      'INSERT INTO crl (authority_id, number, crl, this_update, next_update) VALUES ($1, $2, $3, $4, $5)',
      [authorityId, number, crl, thisUpdate, nextUpdate],
    );
  }

  /**
   * Sequences grow with the seconds since the epoch, so that after the restore of an older database none comes a second
   * time: what a proxy acknowledged of a future that is lost never counts for what is published then. With unchanged
   * roots and CRLs `x509_sequence` stays, and proxies are sent nothing.
   */
  async publishBundle(rootIds: readonly string[], crlAuthorityIds: readonly string[]): Promise<number> {
    if (rootIds.length === 0) throw new CarnetError('invalid_argument', 'a trust bundle needs a root');
    const [row] = await this.#tx.query<{ sequence: string; jwt_ids: string[] }>(
      `INSERT INTO trust_bundle (sequence, x509_sequence, root_ids, x509_authorities, crl_ids, crls, jwt_ids, jwt_keys)
       SELECT next.sequence,
         coalesce((SELECT coalesce(x509_sequence, last.sequence)
             FROM (SELECT * FROM trust_bundle ORDER BY sequence DESC LIMIT 1) AS last
             WHERE last.x509_authorities = roots.certificates AND last.crls = latest.crls), next.sequence),
         $1, roots.certificates, $2, latest.crls, jwt.ids, jwt.keys
       FROM (SELECT greatest((SELECT coalesce(max(sequence), 0) + 1 FROM trust_bundle),
               floor(extract(epoch FROM statement_timestamp()))::bigint) AS sequence) AS next,
            (SELECT coalesce(array_agg(id ORDER BY created_at, id), '{}') AS ids,
               coalesce(array_agg(public_key ORDER BY created_at, id), '{}') AS keys
             FROM authority WHERE kind = 'jwt' AND state NOT IN ('prepared', 'retired')) AS jwt,
            (SELECT array_agg(certificate ORDER BY position) AS certificates
             FROM unnest($1::text[]) WITH ORDINALITY AS given (id, position) JOIN authority USING (id)) AS roots,
            (SELECT coalesce(array_agg(newest.crl ORDER BY position), '{}') AS crls
             FROM unnest($2::text[]) WITH ORDINALITY AS given (id, position),
                  LATERAL (SELECT crl FROM crl WHERE authority_id = given.id ORDER BY number DESC LIMIT 1) AS newest
            ) AS latest
       WHERE cardinality(roots.certificates) = cardinality($1) AND cardinality(latest.crls) = cardinality($2)
       RETURNING sequence, jwt_ids`,
      [rootIds, crlAuthorityIds],
    );
    if (row === undefined)
      throw new CarnetError(
        'not_found',
        `not all of these are authorities with a CRL: ${[...rootIds, ...crlAuthorityIds].join(', ')}`,
      );
    await this.#tx.query(
      'UPDATE authority SET published_sequence = $2 WHERE id = ANY ($1) AND published_sequence IS NULL',
      [[...rootIds, ...crlAuthorityIds, ...row.jwt_ids], row.sequence],
    );
    this.topics.add('bundle').add('authorities');
    return Number(row.sequence);
  }

  async republishBundle(): Promise<number> {
    const [row] = await this.#tx.query<{ root_ids: string[]; crl_ids: string[] }>(
      'SELECT root_ids, crl_ids FROM trust_bundle ORDER BY sequence DESC LIMIT 1',
    );
    if (row === undefined) throw new CarnetError('not_found', 'there is no trust bundle yet');
    return this.publishBundle(row.root_ids, row.crl_ids);
  }

  rotations(): Promise<Rotation[]> {
    return listRotations(this.#tx);
  }

  denials(): Promise<Denial[]> {
    return listDenials(this.#tx);
  }

  insertDenial(denial: NewDenial): Promise<number> {
    this.topics.add('denials');
    return insertDenial(this.#tx, denial);
  }

  liftDenial(id: number): Promise<void> {
    this.topics.add('denials');
    return liftDenial(this.#tx, id);
  }

  revokeMatching(denialId: number, reasonCode: RevocationReason): Promise<{ authorityId: string }[]> {
    return revokeMatching(this.#tx, denialId, reasonCode);
  }

  revokeCertificate(revoked: RevokedCertificate): Promise<void> {
    return revokeCertificate(this.#tx, revoked);
  }

  revoked(authorityId: string): Promise<CrlEntry[]> {
    return listRevoked(this.#tx, authorityId);
  }

  issuance(serial: string): Promise<{ identity: string; instance: string | null } | undefined> {
    return findIssuance(this.#tx, serial);
  }

  rotatedSince(kind: Rotation['kind'], time: Date): Promise<boolean> {
    return rotatedSince(this.#tx, kind, time);
  }

  insertRotation(rotation: NewRotation): Promise<void> {
    this.topics.add('authorities');
    return insertRotation(this.#tx, rotation);
  }

  updateRotation(id: number, change: RotationChange): Promise<void> {
    this.topics.add('authorities');
    return updateRotation(this.#tx, id, change);
  }

  async consumers(): Promise<Consumer[]> {
    const [instances, federated] = [await listConsumers(this.#tx), await federatedConsumers(this.#tx)];
    return [...instances, ...federated, ...(await agentPresenters(this.#tx))];
  }

  outstanding(authorityIds: readonly string[]): Promise<Outstanding> {
    return outstandingOf(this.#tx, authorityIds);
  }

  outstandingTokens(keyId: string): Promise<Outstanding> {
    return outstandingTokensOf(this.#tx, keyId);
  }

  record(issuance: Issuance): Promise<void> {
    return insertIssuances(this.#tx, [issuance]);
  }

  event(event: OperatorEvent): Promise<void> {
    return insertEvents(this.#tx, [event]);
  }

  async #change(id: string, assignment: string, value: unknown): Promise<void> {
    const rows = await this.#tx.query(`UPDATE authority SET ${assignment} WHERE id = $1 RETURNING id`, [
      id,
      value,
    ]);
    if (rows.length === 0) throw new CarnetError('not_found', `there is no authority ${JSON.stringify(id)}`);
    this.topics.add('authorities');
  }
}

function bundleOf(row: BundleRow): Omit<TrustBundle, 'trustDomain'> {
  return {
    sequence: Number(row.sequence),
    x509Sequence: Number(row.x509_sequence ?? row.sequence),
    x509Authorities: row.x509_authorities,
    crls: row.crls,
    jwtAuthorities: row.jwt_ids.flatMap((keyId, i) => {
      const publicKey = row.jwt_keys[i];
      return publicKey === undefined ? [] : [{ keyId, publicKey }];
    }),
  };
}

async function listAuthorities(database: Queryable): Promise<StoredAuthority[]> {
  const rows = await database.query<AuthorityRow>(
    `SELECT id, kind, state, parent_id, key_algorithm, certificate, sealed_key, not_before, not_after, created_at,
       key_reference, cross_certificate, intermediates, published_sequence, state_since
     FROM authority WHERE kind <> 'jwt' ORDER BY created_at, id`,
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
    keyReference: row.key_reference,
    crossCertificate: row.cross_certificate,
    intermediates: row.intermediates,
    publishedSequence: row.published_sequence === null ? null : Number(row.published_sequence),
    stateSince: row.state_since,
  }));
}
