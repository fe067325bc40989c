import type { AgentHealth, AgentRecord } from '../agent/server/agent-store.ts';
import { CarnetError } from '../errors.ts';
import type { Queryable } from './database.ts';

export interface AgentRow {
  readonly node: string;
  readonly method: string;
  readonly selectors: string[];
  readonly evidence: Record<string, unknown>;
  readonly attestation: number;
  readonly serial: string | null;
  readonly attested_serial: string;
  readonly seen_at: Date | null;
  readonly previous_serial: string | null;
  readonly expires_at: Date;
  readonly run_id: string | null;
  readonly past_run_ids: string[];
  readonly session_id: string | null;
  readonly version: string | null;
  readonly first_attested_at: Date;
  readonly attested_at: Date;
  readonly last_seen_at: Date | null;
  readonly health: AgentHealth | null;
  readonly banned_at: Date | null;
  readonly banned_by: string | null;
  readonly ban_reason: string | null;
  /** A connection that was being made when the successor was shown may still show this one. */
  readonly overlaps: boolean;
  readonly connected: boolean;
}

/** Ours: how long after a new certificate was first shown the one before it means a race, and no copy. */
const OVERLAP = '30 seconds';
/** A session of a server that was killed has no end on record; those that live are seen once a minute. */
const SEEN = '3 minutes';
const COLUMNS = `node, method, selectors, evidence, attestation, encode(serial, 'hex') AS serial, seen_at,
  encode(attested_serial, 'hex') AS attested_serial,
  encode(previous_serial, 'hex') AS previous_serial, expires_at, encode(run_id, 'hex') AS run_id,
  ARRAY(SELECT encode(past, 'hex') FROM unnest(past_run_ids) AS past) AS past_run_ids, session_id, version,
  first_attested_at, attested_at, last_seen_at, health, banned_at, banned_by, ban_reason,
  seen_at > statement_timestamp() - interval '${OVERLAP}' AS overlaps,
  session_id IS NOT NULL AND last_seen_at > statement_timestamp() - interval '${SEEN}' AS connected`;

export async function listAgents(database: Queryable): Promise<AgentRow[]> {
  return database.query<AgentRow>(`SELECT ${COLUMNS} FROM agent ORDER BY node`);
}

/** Locked until the transaction ends. */
export async function findAgent(tx: Queryable, node: string): Promise<AgentRow | undefined> {
  const [row] = await tx.query<AgentRow>(`SELECT ${COLUMNS} FROM agent WHERE node = $1 FOR UPDATE`, [node]);
  return row;
}

/** As {@link findAgent}. Throws `not_found`. */
export async function findKnownAgent(tx: Queryable, node: string): Promise<AgentRow> {
  const agent = await findAgent(tx, node);
  if (agent === undefined) throw new CarnetError('not_found', `there is no agent of ${JSON.stringify(node)}`);
  return agent;
}

export function recordOf(row: AgentRow): AgentRecord {
  const { banned_at, banned_by, ban_reason } = row;
  return {
    node: row.node,
    method: row.method,
    selectors: row.selectors,
    evidence: row.evidence,
    attestation: row.attestation,
    serial: row.serial,
    expiresAt: row.expires_at,
    connected: row.connected,
    version: row.version,
    firstAttestedAt: row.first_attested_at,
    attestedAt: row.attested_at,
    lastSeenAt: row.last_seen_at,
    health: row.health,
    ban:
      banned_at === null || banned_by === null || ban_reason === null
        ? null
        : { at: banned_at, by: banned_by, reason: ban_reason },
  };
}
