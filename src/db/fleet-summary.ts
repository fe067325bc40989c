import type { FleetSummary } from '../rotation/fleet-summary.ts';
import type { Queryable } from './database.ts';

/** Who counts is who a rotation waits for: `takesTrust` of rotation/gate.ts. */
const SUMMARY = `
  WITH latest AS (SELECT coalesce(max(sequence), 0) AS sequence FROM trust_bundle)
  SELECT latest.sequence::int AS "bundleSequence", counted.* FROM latest, LATERAL (
    SELECT
      count(*) FILTER (WHERE streams > 0)::int AS connected,
      count(*) FILTER (WHERE streams = 0 AND holds_until > now())::int AS away,
      count(*) FILTER (WHERE streams > 0 AND problem IS NOT NULL)::int AS refusing,
      count(*) FILTER (WHERE streams > 0
        AND coalesce(CASE WHEN acknowledges THEN bundle_acknowledged ELSE bundle_sent END, 0) < latest.sequence
      )::int AS behind
    FROM consumer WHERE NOT gone AND bundle_sent IS NOT NULL
  ) AS counted`;

/** By one look at the table that all agents write: the same from every replica. */
export async function summarizeFleet(database: Queryable): Promise<FleetSummary> {
  const [summary] = await database.query<FleetSummary>(SUMMARY);
  return summary ?? { bundleSequence: 0, connected: 0, away: 0, behind: 0, refusing: 0 };
}
