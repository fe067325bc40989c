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
  readonly authorities: string[];
  readonly holds_until: Date | null;
  readonly problem: string | null;
}

const COLUMNS = `instance, node, names, identities, streams, gone, acknowledges, bundle_sent, bundle_sent_at,
  bundle_acknowledged, bundle_observed, authorities, holds_until, problem`;

/** The whole fleet, by instance; of one node where it is given. */
export async function listConsumers(database: Queryable, node?: string): Promise<Consumer[]> {
  const rows = await database.query<ConsumerRow>(
    `SELECT ${COLUMNS} FROM consumer WHERE $1::text IS NULL OR node = $1 ORDER BY instance`,
    [node ?? null],
  );
  return rows.map((row) => ({
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
    authorities: row.authorities,
    holdsUntil: row.holds_until?.getTime() ?? null,
    problem: row.problem,
  }));
}

/**
 * What these authorities signed for workloads that may still be presented: neither ended nor revoked, and its
 * instance neither gone nor known to hold another in its place. Read by (not_after), whatever the history's size.
 */
export async function outstandingOf(
  database: Queryable,
  authorityIds: readonly string[],
): Promise<Outstanding> {
  const [row] = await database.query<{ count: string; until: Date | null }>(
    `SELECT count(*) AS count, max(not_after) AS until FROM issuance
     WHERE not_after > now() AND authority_id = ANY ($1) AND instance IS NOT NULL
       AND NOT EXISTS (SELECT FROM revocation WHERE revocation.serial = issuance.serial)
       AND NOT EXISTS (SELECT FROM consumer WHERE consumer.instance = issuance.instance
                       AND (gone OR NOT issuance.authority_id = ANY (authorities)))`,
    [authorityIds],
  );
  return { count: Number(row?.count ?? 0), until: row?.until?.getTime() ?? null };
}

function numberOf(text: string | null): number | null {
  return text === null ? null : Number(text);
}
