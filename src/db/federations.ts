import { randomUUID } from 'node:crypto';
import { CarnetError } from '../errors.ts';
import type {
  AcceptedBundle,
  Claim,
  Federation,
  FederationStore,
  ForeignBundle,
  NewFederation,
} from '../federation/federation.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { Database, Queryable } from './database.ts';
import { bundleOf, FEDERATION_COLUMNS, type FederationRow, federationOf } from './federation-rows.ts';
import { notify } from './listen.ts';
import { insertEvents } from './operator-events.ts';

/** Each is fetched for ever, and may be held by every proxy. */
const MAX_FEDERATIONS = 100;
const SELECT = `SELECT ${FEDERATION_COLUMNS} FROM federation`;

/** The federations and their bundles. Of each, changes are made one at a time, in all replicas. */
export class PostgresFederationStore implements FederationStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  async list(): Promise<Federation[]> {
    const rows = await this.#database.query<FederationRow>(`${SELECT} ORDER BY trust_domain`);
    return rows.map(federationOf);
  }

  create({ trustDomain, endpoint, bundle }: NewFederation, actor: string): Promise<Federation> {
    return this.#database.transact(async (tx) => {
      const [row] = await tx.query(
        `INSERT INTO federation (trust_domain, profile, endpoint_url, endpoint_spiffe_id, next_refresh_at)
         VALUES ($1, $2, $3, $4, CASE WHEN $3::text IS NOT NULL THEN statement_timestamp() END)
         ON CONFLICT DO NOTHING RETURNING trust_domain`,
        [
          trustDomain,
          endpoint?.profile ?? null,
          endpoint?.url ?? null,
          endpoint?.profile === 'https_spiffe' ? endpoint.spiffeId : null,
        ],
      );
      if (row === undefined)
        throw new CarnetError('already_exists', `there is a federation with ${trustDomain} already`);
      await checkCount(tx);
      await record(tx, actor, 'federation.create', trustDomain, { after: { endpoint } });
      if (bundle !== null) await storeBundle(tx, trustDomain, null, bundle, actor);
      await notify(tx, 'federation');
      return lock(tx, trustDomain);
    });
  }

  delete(trustDomain: TrustDomain, actor: string): Promise<Federation> {
    return this.#database.transact(async (tx) => {
      const last = await lock(tx, trustDomain);
      await tx.query('DELETE FROM federation WHERE trust_domain = $1', [trustDomain]);
      const before = { endpoint: last.endpoint, ...(last.bundle && summaryOf(last.bundle)) };
      await record(tx, actor, 'federation.delete', trustDomain, { before });
      await notify(tx, 'federation');
      return last;
    });
  }

  setBundle(trustDomain: TrustDomain, bundle: AcceptedBundle, actor: string): Promise<Federation> {
    return this.#database.transact(async (tx) => {
      const { bundle: live } = await lock(tx, trustDomain);
      await storeBundle(tx, trustDomain, live, bundle, actor);
      await notify(tx, 'federation');
      return lock(tx, trustDomain);
    });
  }

  async claimDue(leaseSeconds: number): Promise<Claim | null> {
    const id = randomUUID();
    const [row] = await this.#database.query<FederationRow>(
      `UPDATE federation SET claim_id = $1, claimed_until = statement_timestamp() + make_interval(secs => $2)
       WHERE trust_domain = (
         SELECT trust_domain FROM federation
         WHERE next_refresh_at <= statement_timestamp()
           AND (claimed_until IS NULL OR claimed_until <= statement_timestamp())
         ORDER BY next_refresh_at LIMIT 1 FOR UPDATE SKIP LOCKED)
       RETURNING ${FEDERATION_COLUMNS}`,
      [id, leaseSeconds],
    );
    return row === undefined ? null : { id, federation: federationOf(row) };
  }

  claim(trustDomain: TrustDomain, leaseSeconds: number): Promise<Claim> {
    return this.#database.transact(async (tx) => {
      const { endpoint } = await lock(tx, trustDomain);
      if (endpoint === null)
        throw new CarnetError(
          'conflict',
          `${trustDomain} has no endpoint: its bundle is set by hand, by carnet federation set-bundle`,
        );
      const id = randomUUID();
      const [row] = await tx.query<FederationRow>(
        `UPDATE federation SET claim_id = $2, claimed_until = statement_timestamp() + make_interval(secs => $3)
         WHERE trust_domain = $1 AND (claimed_until IS NULL OR claimed_until <= statement_timestamp())
         RETURNING ${FEDERATION_COLUMNS}`,
        [trustDomain, id, leaseSeconds],
      );
      if (row === undefined)
        throw new CarnetError('conflict', `the bundle of ${trustDomain} is being fetched just now`);
      return { id, federation: federationOf(row) };
    });
  }

  succeed(
    { id, federation: { trustDomain } }: Claim,
    accept: (live: ForeignBundle | null) => AcceptedBundle,
    nextInSeconds: (bundle: AcceptedBundle) => number,
    actor: string,
  ): Promise<Federation | null> {
    return this.#database.transact(async (tx) => {
      const [row] = await tx.query<FederationRow>(
        `${SELECT} WHERE trust_domain = $1 AND claim_id = $2 FOR UPDATE`,
        [trustDomain, id],
      );
      if (row === undefined) return null;
      const live = bundleOf(row);
      const bundle = accept(live);
      await storeBundle(tx, trustDomain, live, bundle, actor);
      await tx.query(
        `UPDATE federation SET claim_id = NULL, claimed_until = NULL, failures = 0, problem = NULL,
           checked_at = statement_timestamp(), next_refresh_at = statement_timestamp() + make_interval(secs => $2)
         WHERE trust_domain = $1`,
        [trustDomain, nextInSeconds(bundle)],
      );
      await notify(tx, 'federation');
      return lock(tx, trustDomain);
    });
  }

  fail({ id, federation }: Claim, problem: string, nextInSeconds: number): Promise<void> {
    return this.#database.transact(async (tx) => {
      await tx.query(
        `UPDATE federation SET claim_id = NULL, claimed_until = NULL, failures = failures + 1, problem = $3,
           next_refresh_at = statement_timestamp() + make_interval(secs => $4)
         WHERE trust_domain = $1 AND claim_id = $2`,
        [federation.trustDomain, id, problem, nextInSeconds],
      );
      await notify(tx, 'federation');
    });
  }
}

/** Throws `not_found`. The row stays locked until the transaction ends. */
async function lock(tx: Queryable, trustDomain: TrustDomain): Promise<Federation> {
  const [row] = await tx.query<FederationRow>(`${SELECT} WHERE trust_domain = $1 FOR UPDATE`, [trustDomain]);
  if (row === undefined)
    throw new CarnetError('not_found', `there is no federation with ${JSON.stringify(trustDomain)}`);
  return federationOf(row);
}

/** Nothing, if the document is the one that lives. */
async function storeBundle(
  tx: Queryable,
  trustDomain: TrustDomain,
  live: ForeignBundle | null,
  bundle: AcceptedBundle,
  actor: string,
): Promise<void> {
  if (bundle.sha256 === live?.sha256) return;
  const { document, sha256, sequence, refreshHintSeconds } = bundle;
  await tx.query(
    `UPDATE federation SET document = $2, sha256 = decode($3, 'hex'), sequence = $4, refresh_hint_seconds = $5,
       revision = nextval('federation_revision'), changed_at = statement_timestamp()
     WHERE trust_domain = $1`,
    [trustDomain, document, sha256, sequence?.toString() ?? null, refreshHintSeconds],
  );
  await record(tx, actor, 'federation.bundle', trustDomain, {
    before: live && summaryOf(live),
    after: summaryOf(bundle),
  });
}

function summaryOf({ sha256, sequence }: AcceptedBundle): Record<string, unknown> {
  return { sha256, sequence: sequence?.toString() ?? null };
}

async function record(
  tx: Queryable,
  actor: string,
  action: string,
  trustDomain: TrustDomain,
  { before = null, after = null }: Partial<Record<'before' | 'after', Record<string, unknown> | null>>,
): Promise<void> {
  await insertEvents(tx, [{ actor, action, subject: trustDomain, before, after, reason: '' }]);
}

async function checkCount(tx: Queryable): Promise<void> {
  const [row] = await tx.query<{ count: number }>('SELECT count(*)::integer AS count FROM federation');
  if (row && row.count > MAX_FEDERATIONS)
    throw new CarnetError('conflict', `there may be ${MAX_FEDERATIONS} federations: delete one first`);
}
