import type { FleetChanges, FleetRemains } from '../delivery/fleet.ts';
import type { FleetStore } from '../delivery/fleet-report.ts';
import type { ConsumerRecord, HeldRecord } from '../delivery/member.ts';
import { CarnetError } from '../errors.ts';
import type { Consumer, Outstanding } from '../rotation/fleet.ts';
import type { Queryable } from './database.ts';

interface ConsumerRow {
  readonly instance: string;
  readonly node: string;
  readonly names: string[];
  readonly identities: string[];
  readonly streams: number;
  readonly gone: boolean;
  readonly acknowledges: boolean;
  readonly bundle_sent: string | null;
  readonly bundle_sent_at: Date | null;
  readonly bundle_acknowledged: string | null;
  readonly bundle_observed: string | null;
  readonly observes_until: Date | null;
  readonly authorities: string[];
  readonly holds_until: Date | null;
  readonly problem: string | null;
}

interface UnreportedRow {
  readonly instance: string;
  readonly identity: string;
  readonly serial: string;
  readonly authority_id: string;
  readonly not_after: Date;
}

const COLUMNS = `instance, node, names, identities, streams, gone, acknowledges, bundle_sent, bundle_sent_at,
  bundle_acknowledged, bundle_observed, observes_until, authorities, holds_until, problem`;
const WRITTEN = COLUMNS.replace('instance, node, ', 'instance, ');
/**
 * 0 for a bundle that the database knows nothing of: an older one was restored, and what followed then is lost. No
 * authorities for whom everything is revoked: nobody accepts what it presents, so no rotation waits for it.
 */
const READ = COLUMNS.replaceAll(
  /\bbundle_(sent|acknowledged|observed)\b/g,
  'CASE WHEN $& > (SELECT max(sequence) FROM trust_bundle) THEN 0 ELSE $& END AS $&',
).replace(
  'authorities',
  `CASE WHEN identities <> '{}' AND NOT EXISTS (
     SELECT FROM unnest(identities) AS held (identity) WHERE NOT carnet_is_denied(held.identity, instance, node)
   ) THEN '{}' ELSE authorities END AS authorities`,
);
const EXCLUDED = WRITTEN.replace(/\w+/g, 'EXCLUDED.$&');

/**
 * When whoever can't acknowledge was sent what a rotation waits for, in the upsert of a row that `known` names: by the
 * database's clock, whatever an agent's says. The same bundle again, or one that brings no authority (but newer CRLs,
 * say), begins nothing anew: else one who asks often, or a run of revocations, would hold a rotation up for ever.
 */
export function bundleSentAt(known: string): string {
  return `CASE WHEN ${known}.bundle_sent_at IS NOT NULL AND ${known}.bundle_sent <= EXCLUDED.bundle_sent
    AND NOT EXISTS (SELECT FROM authority
      WHERE published_sequence > ${known}.bundle_sent AND published_sequence <= EXCLUDED.bundle_sent)
    THEN ${known}.bundle_sent_at ELSE EXCLUDED.bundle_sent_at END`;
}

/**
 * Ours, of one node: processes that come and go, 14 a second with leaves of an hour, and some KiB for each. All servers
 * read all rows when a rotation is under way.
 */
const NODE_LIMITS = { records: 50_000, heldBytes: 256 * 1024 * 1024 };

/** What one agent stores of its instances. An agent is named by its node and its socket. */
export class PostgresFleetStore implements FleetStore {
  readonly #database: Queryable;
  readonly #node: string;
  readonly #agent: string;
  readonly #limits: typeof NODE_LIMITS;

  constructor(database: Queryable, node: string, socket: string, limits = NODE_LIMITS) {
    this.#database = database;
    this.#node = node;
    this.#agent = `${node} ${socket}`;
    this.#limits = limits;
  }

  async load(): Promise<FleetRemains> {
    const rows = await this.#database.query<ConsumerRow & { keep_until: Date; held: HeldRecord }>(
      `SELECT ${COLUMNS}, keep_until, held FROM consumer WHERE agent = $1 AND NOT gone`,
      [this.#agent],
    );
    const records = rows.map((row) => ({
      ...consumerOf(row),
      keepUntil: row.keep_until.getTime(),
      held: row.held,
    }));
    return { records, unreported: await this.#unreported() };
  }

  /**
   * An agent that was killed may have handed out what its last report doesn't know of. Of an instance without any
   * report it is ours if it is older than a report takes; else another agent of this node may just be making it. What
   * agents of other nodes say of the same instance is nothing to us.
   */
  async #unreported(): Promise<FleetRemains['unreported']> {
    const rows = await this.#database.query<UnreportedRow>(
      `SELECT issuance.instance, identity, encode(serial, 'hex') AS serial, authority_id, not_after
       FROM consumer JOIN issuance ON (issuance.instance, issuance.node) = (consumer.instance, consumer.node)
         AND recorded_at >= updated_at
       WHERE agent = $1 AND NOT gone AND profile = 'x509-svid' AND not_after > now()
       UNION ALL
       SELECT instance, identity, encode(serial, 'hex'), authority_id, not_after FROM issuance
       WHERE node = $2 AND profile = 'x509-svid' AND not_after > now() AND recorded_at < now() - interval '1 second'
         AND NOT EXISTS (SELECT FROM consumer
           WHERE (consumer.instance, consumer.node) = (issuance.instance, issuance.node))
       ORDER BY not_after`,
      [this.#agent, this.#node],
    );
    return rows.map(({ instance, identity, serial, authority_id, not_after }) => ({
      instance,
      identity,
      serial,
      authority: authority_id,
      until: not_after.getTime(),
    }));
  }

  /**
   * One statement: the rows go as one JSON document, as arrays of arrays cannot be unnested. Throws `too_large` past what
   * is kept of a node.
   */
  async write({ records, ended }: FleetChanges): Promise<void> {
    await this.#checkRoom(records);
    await this.#database.query(
      `WITH ended AS (DELETE FROM consumer WHERE agent = $2 AND instance = ANY ($4))
       INSERT INTO consumer (agent, node, updated_at, keep_until, held, ${WRITTEN})
       SELECT $2, $3, statement_timestamp(), to_timestamp(keep_until / 1000), held, instance, names, identities,
         streams, gone, acknowledges, bundle_sent,
         CASE WHEN bundle_sent IS NOT NULL THEN statement_timestamp() END, bundle_acknowledged,
         bundle_observed, to_timestamp(observes_until / 1000), authorities, to_timestamp(holds_until / 1000), problem
       FROM json_to_recordset($1) AS r (instance text, names text[], identities text[], streams integer,
         gone boolean, acknowledges boolean, bundle_sent bigint, bundle_acknowledged bigint,
         bundle_observed bigint, observes_until float8, authorities text[], holds_until float8, problem text, keep_until float8, held jsonb)
       ON CONFLICT (instance, agent) DO UPDATE SET
         (node, updated_at, keep_until, held, ${WRITTEN}) = ROW (EXCLUDED.node, EXCLUDED.updated_at,
           EXCLUDED.keep_until, EXCLUDED.held, ${EXCLUDED.replace('EXCLUDED.bundle_sent_at', bundleSentAt('consumer'))})`,
      [JSON.stringify(records.map(columnsOf)), this.#agent, this.#node, ended],
    );
  }

  async #checkRoom(records: readonly ConsumerRecord[]): Promise<void> {
    if (records.length === 0) return;
    const [kept] = await this.#database.query<{ count: string; bytes: string | null }>(
      `SELECT count(*) AS count, sum(pg_column_size(held)) AS bytes FROM consumer
       WHERE node = $1 AND NOT (agent = $2 AND instance = ANY ($3))`,
      [this.#node, this.#agent, records.map(({ instance }) => instance)],
    );
    if (
      Number(kept?.count) + records.length <= this.#limits.records &&
      Number(kept?.bytes) <= this.#limits.heldBytes
    )
      return;
    throw new CarnetError(
      'too_large',
      `${this.#node} has ${kept?.count} instances on record, with ${kept?.bytes} bytes: no more are kept`,
    );
  }
}

/** Whom a certificate and a bundle were handed to in one answer: it has no stream, and cannot acknowledge. */
export interface HandedOut {
  readonly instance: string;
  readonly node: string;
  readonly identity: string;
  /** Of the bundle. */
  readonly sequence: number;
  /** End of the certificate. */
  readonly notAfter: Date;
}

/**
 * Takes note of it until the certificate ends. All that the instance was given and that has not ended counts as in use:
 * nobody knows whether the answer arrived. `agent` names whose word it is.
 */
export async function noteHandedOut(database: Queryable, agent: string, handed: HandedOut): Promise<void> {
  const nothingOpen = JSON.stringify({ open: [], left: [], lasting: [], own: [], unconfirmed: null });
  await database.query(
    `INSERT INTO consumer AS known (agent, instance, node, names, identities, streams, gone, acknowledges, bundle_sent,
       bundle_sent_at, authorities, holds_until, keep_until, held)
     SELECT $1, $2, $3, '{}', ARRAY[$4], 0, false, false, $5, statement_timestamp(),
       array(SELECT DISTINCT authority_id FROM issuance WHERE instance = $2 AND not_after > statement_timestamp()),
       $6, $6, $7
     ON CONFLICT (instance, agent) DO UPDATE SET
       (identities, bundle_sent, bundle_sent_at, authorities, holds_until, keep_until, updated_at) =
       ROW (EXCLUDED.identities, EXCLUDED.bundle_sent, ${bundleSentAt('known')}, EXCLUDED.authorities,
         greatest(known.holds_until, EXCLUDED.holds_until), greatest(known.keep_until, EXCLUDED.keep_until),
         statement_timestamp())`,
    [agent, handed.instance, handed.node, handed.identity, handed.sequence, handed.notAfter, nothingOpen],
  );
}

/** Removes what no longer says anything, whichever agent stored it. */
export async function pruneConsumers(database: Queryable): Promise<void> {
  await database.query('DELETE FROM consumer WHERE keep_until < statement_timestamp()');
}

/** An agent's certificate is on record before its agent is known by it: by then it is. */
const BEING_GRANTED = '10 seconds';

/** The whole fleet, by instance; of one node where it is given. */
export async function listConsumers(database: Queryable, node?: string): Promise<Consumer[]> {
  const rows = await database.query<ConsumerRow>(
    `SELECT ${READ} FROM consumer WHERE $1::text IS NULL OR node = $1 ORDER BY instance, agent`,
    [node ?? null],
  );
  return rows.map(consumerOf);
}

function consumerOf(row: ConsumerRow): Consumer {
  return {
    instance: row.instance,
    node: row.node,
    names: row.names,
    identities: row.identities,
    streams: row.streams,
    gone: row.gone,
    acknowledges: row.acknowledges,
    bundleSent: numberOf(row.bundle_sent),
    bundleSentAt: row.bundle_sent_at?.getTime() ?? null,
    bundleAcknowledged: numberOf(row.bundle_acknowledged),
    bundleObserved: numberOf(row.bundle_observed),
    observesUntil: row.observes_until?.getTime() ?? null,
    authorities: row.authorities,
    holdsUntil: row.holds_until?.getTime() ?? null,
    problem: row.problem,
  };
}

/**
 * What these authorities signed that may still be presented: neither ended nor revoked, and its instance neither gone
 * nor known to hold others in its place. An instance's row speaks of what was issued before it was written; a server
 * holds the last that it was given; an agent too, and the one before until it has shown that it has the last; a banned
 * one nothing. Read by (not_after), whatever the history's size.
 */
export async function outstandingOf(
  database: Queryable,
  authorityIds: readonly string[],
): Promise<Outstanding> {
  const [row] = await database.query<{ count: string; until: Date | null }>(
    `SELECT count(*) AS count, max(not_after) AS until FROM issuance
     LEFT JOIN LATERAL (
       SELECT bool_or(gone) AS gone, bool_and(updated_at > recorded_at AND NOT authority_id = ANY (authorities)) AS replaced
       FROM consumer WHERE consumer.instance = issuance.instance AND consumer.node = issuance.node
     ) AS holder ON true
     WHERE not_after > now() AND authority_id = ANY ($1) AND instance IS NOT NULL
       AND NOT EXISTS (SELECT FROM revocation WHERE revocation.serial = issuance.serial)
       AND NOT coalesce(gone OR (replaced AND profile <> 'agent'), false)
       AND NOT (profile = 'server' AND EXISTS (
         SELECT FROM issuance AS later WHERE later.instance = issuance.instance
           AND (later.recorded_at, later.id) > (issuance.recorded_at, issuance.id)))
       AND NOT (profile = 'agent' AND recorded_at < statement_timestamp() - interval '${BEING_GRANTED}' AND NOT EXISTS (
         SELECT FROM agent WHERE agent.node = issuance.node AND banned_at IS NULL
           AND (agent.serial = issuance.serial OR (seen_at IS NULL AND previous_serial = issuance.serial))))`,
    [authorityIds],
  );
  return { count: Number(row?.count ?? 0), until: row?.until?.getTime() ?? null };
}

function columnsOf(record: ConsumerRecord): Record<string, unknown> {
  return {
    instance: record.instance,
    names: record.names,
    identities: record.identities,
    streams: record.streams,
    gone: record.gone,
    acknowledges: record.acknowledges,
    bundle_sent: record.bundleSent,
    bundle_acknowledged: record.bundleAcknowledged,
    bundle_observed: record.bundleObserved,
    observes_until: record.observesUntil,
    authorities: record.authorities,
    holds_until: record.holdsUntil,
    problem: record.problem,
    keep_until: record.keepUntil,
    held: record.held,
  };
}

function numberOf(text: string | null): number | null {
  return text === null ? null : Number(text);
}
