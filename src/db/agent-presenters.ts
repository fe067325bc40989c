import type { Consumer } from '../rotation/fleet.ts';
import type { Queryable } from './database.ts';

/** The database is told of each session twice a minute at least: one that was heard of in this time can be renewed. */
const HEARD = '1 minute';

/**
 * The agents of other nodes by what they may present: the certificate that each was given last, and until it has shown
 * it, the one before. An agent of which no certificate is accepted any more can't even renew it: so each that is connected
 * is waited for, also between two sessions. What they verify by is counted apart from this.
 */
export async function agentPresenters(database: Queryable): Promise<Consumer[]> {
  const rows = await database.query<{
    node: string;
    heard: boolean;
    authorities: string[];
    holds_until: Date;
  }>(
    `SELECT agent.node, coalesce(last_seen_at > statement_timestamp() - interval '${HEARD}', false) AS heard,
       array_agg(DISTINCT authority_id) AS authorities, max(not_after) AS holds_until
     FROM agent JOIN issuance
       ON issuance.serial IN (agent.serial, CASE WHEN seen_at IS NULL THEN previous_serial END)
     WHERE banned_at IS NULL AND profile = 'agent' AND not_after > statement_timestamp()
     GROUP BY agent.node ORDER BY agent.node`,
  );
  return rows.map(({ node, heard, authorities, holds_until }) => ({
    instance: `agent:${node}`,
    node,
    names: [`agent of ${node}`],
    identities: [],
    streams: heard ? 1 : 0,
    gone: false,
    acknowledges: true,
    bundleSent: null,
    bundleSentAt: null,
    bundleAcknowledged: null,
    bundleObserved: null,
    observesUntil: null,
    authorities,
    holdsUntil: holds_until.getTime(),
    problem: null,
  }));
}
