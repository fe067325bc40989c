import type {
  AgentCredential,
  AgentRecord,
  AgentState,
  AgentStore,
  NewSession,
  SeenAgent,
  Standing,
} from '../agent/server/agent-store.ts';
import type { AttestedNode } from '../agent/server/node-attestor.ts';
import { CarnetError } from '../errors.ts';
import { type AgentRow, findAgent, findKnownAgent, listAgents, recordOf } from './agent-rows.ts';
import { bundleSentAt } from './consumers.ts';
import type { Database, Queryable } from './database.ts';
import { notify } from './listen.ts';
import { insertEvents } from './operator-events.ts';
import { isServerNode } from './server-nodes.ts';

/**
 * Ours: of one attestation; a process that comes back after so many others have taken its place goes unnoticed. A copy that
 * wants to push its original out takes half an hour at the rate that sessions of one agent have.
 */
const MAX_PAST_RUNS = 1024;
/**
 * An agent verifies servers by the bundle that it was sent, and acknowledges nothing: in rotations it counts like a
 * consumer that was sent this bundle then, for as long as it may come back.
 */
const CONSUMES = `
  INSERT INTO consumer (agent, instance, node, names, identities, streams, gone, acknowledges, bundle_sent,
    bundle_sent_at, authorities, holds_until, keep_until, held)
  SELECT node || ' link', 'agent:' || node, node, ARRAY['agent of ' || node], '{}', 0, false, false,
    said."bundleSequence", statement_timestamp(), '{}', expires_at, expires_at, '{}'
  FROM json_to_recordset($1) AS said (node text, "bundleSequence" bigint) JOIN agent USING (node)
  WHERE banned_at IS NULL AND said."bundleSequence" > 0
  ON CONFLICT (instance, agent) DO UPDATE SET updated_at = statement_timestamp(), bundle_sent = EXCLUDED.bundle_sent,
    holds_until = EXCLUDED.holds_until, keep_until = EXCLUDED.keep_until,
    bundle_sent_at = ${bundleSentAt('consumer')}`;
/**
 * Ours: from the end of its newest certificate. None lives for more than 30 days, so those before it have ended as well.
 * Its attestations may be counted from 1 again: servers have left it out of what they keep in mind for a day.
 */
const KEPT = '32 days';
/** Ours: of one wake, which is each minute; a second's work at most. */
const MAX_FORGOTTEN = 1000;
/** Who bans where two hold one identity. */
const COPY_ACTOR = 'server:link';

export class PostgresAgentStore implements AgentStore {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** What is on record later is told by its number: the database's clock may jump. */
  attested(method: string, node: AttestedNode, { serial, expiresAt }: AgentCredential): Promise<void> {
    return this.#database.transact(async (tx) => {
      if (await isServerNode(tx, node.name)) throw ofServer(node.name);
      const [taken] = await tx.query<{ attestation: number }>(
        `INSERT INTO agent (node, method, selectors, evidence, attestation, serial, attested_serial, expires_at)
         VALUES ($1, $2, $3, $4, 1, decode($5, 'hex'), decode($5, 'hex'), $6)
         ON CONFLICT (node) DO UPDATE SET method = EXCLUDED.method, selectors = EXCLUDED.selectors,
           evidence = EXCLUDED.evidence, attestation = agent.attestation + 1, serial = EXCLUDED.serial,
           attested_serial = EXCLUDED.serial, seen_at = NULL, previous_serial = NULL, expires_at = EXCLUDED.expires_at,
           run_id = NULL, past_run_ids = '{}', session_id = NULL, attested_at = statement_timestamp()
         WHERE agent.banned_at IS NULL
           AND (agent.method = EXCLUDED.method OR EXCLUDED.method = 'join_token' OR agent.serial IS NULL)
           AND NOT EXISTS (SELECT FROM issuance AS known JOIN issuance AS late ON late.serial = EXCLUDED.serial
             WHERE known.serial = agent.attested_serial AND known.id > late.id)
         RETURNING attestation`,
        [node.name, method, node.selectors, node.evidence, serial, expiresAt],
      );
      if (taken === undefined) throw refusalOf(await findKnownAgent(tx, node.name), method);
      if (taken.attestation > 1) await notify(tx, 'agents');
    });
  }

  presented(node: string, serial: string): Promise<Standing> {
    return this.#judged(node, async (tx, agent) => {
      const copied = await checkSerial(tx, agent, serial);
      if (copied !== null) return { copied };
      await checkNotRevoked(tx, serial);
      if (serial === agent.serial && agent.seen_at === null)
        await tx.query('UPDATE agent SET seen_at = statement_timestamp() WHERE node = $1', [node]);
      const { method, selectors, evidence, attestation } = agent;
      return { fair: { method, selectors, evidence, attestation } };
    });
  }

  async renewed(node: string, shown: string, { serial, expiresAt }: AgentCredential): Promise<void> {
    await this.#judged(node, async (tx, agent) => {
      const copied = await checkSerial(tx, agent, shown);
      if (copied !== null) return { copied };
      await tx.query(
        `UPDATE agent SET serial = decode($2, 'hex'), previous_serial = decode($3, 'hex'), seen_at = NULL, expires_at = $4
         WHERE node = $1`,
        [node, serial, shown, expiresAt],
      );
      return { fair: undefined };
    });
  }

  async sessionBegan(node: string, { id, runId, version }: NewSession): Promise<void> {
    const run = Buffer.from(runId).toString('hex');
    await this.#judged(node, async (tx, agent) => {
      if (agent.past_run_ids.includes(run))
        return { copied: `run ${run}, whose place another run had taken, came back` };
      const past = agent.run_id === null || agent.run_id === run ? [] : [Buffer.from(agent.run_id, 'hex')];
      await tx.query(
        `UPDATE agent SET run_id = $2, past_run_ids = (past_run_ids || $3::bytea[])[greatest(1,
             cardinality(past_run_ids || $3::bytea[]) - ${MAX_PAST_RUNS - 1}):],
           session_id = $4, version = $5, last_seen_at = statement_timestamp() WHERE node = $1`,
        [node, runId, past, id, version],
      );
      if (agent.session_id !== null) await notify(tx, 'agents');
      return { fair: undefined };
    });
  }

  async sessionEnded(node: string, sessionId: string): Promise<void> {
    await this.#database.query(
      `UPDATE agent SET session_id = NULL, last_seen_at = statement_timestamp()
       WHERE node = $1 AND session_id = $2`,
      [node, sessionId],
    );
  }

  async seen(agents: readonly SeenAgent[]): Promise<void> {
    // Of an agent that began anew a moment ago there are two: a row can't be written twice, and the later one counts.
    const said = JSON.stringify([...new Map(agents.map((agent) => [agent.node, agent])).values()]);
    await this.#database.query(
      `UPDATE agent SET last_seen_at = statement_timestamp(), health = coalesce(said.health, agent.health)
       FROM json_to_recordset($1) AS said (node text, health jsonb)
       WHERE agent.node = said.node AND session_id IS NOT NULL`,
      [said],
    );
    await this.#database.query(CONSUMES, [said]);
  }

  async states(): Promise<AgentState[]> {
    const rows = await this.#database.query<
      Pick<AgentRow, 'node' | 'attestation' | 'session_id' | 'ban_reason'>
    >(
      `SELECT node, attestation, session_id, ban_reason FROM agent
       WHERE banned_at IS NOT NULL OR expires_at > statement_timestamp() - interval '31 days'`,
    );
    return rows.map((row) => ({
      node: row.node,
      attestation: row.attestation,
      sessionId: row.session_id,
      banReason: row.ban_reason,
    }));
  }

  async list(): Promise<AgentRecord[]> {
    return (await listAgents(this.#database)).map(recordOf);
  }

  ban(node: string, reason: string, actor: string): Promise<AgentRecord> {
    return this.#database.transact(async (tx) => {
      const agent = await findKnownAgent(tx, node);
      if (agent.banned_at === null) await ban(tx, agent, reason, actor);
      return recordOf(await findKnownAgent(tx, node));
    });
  }

  unban(node: string, actor: string): Promise<AgentRecord> {
    return this.#database.transact(async (tx) => {
      const agent = await findKnownAgent(tx, node);
      if (agent.banned_at === null) return recordOf(agent);
      await tx.query(
        `UPDATE agent SET banned_at = NULL, banned_by = NULL, ban_reason = NULL, serial = NULL, previous_serial = NULL,
           attestation = attestation + 1 WHERE node = $1`,
        [node],
      );
      const before = { banned_by: agent.banned_by, ban_reason: agent.ban_reason };
      await insertEvents(tx, [
        { actor, action: 'agent.unban', subject: node, before, after: null, reason: '' },
      ]);
      await notify(tx, 'agents');
      return recordOf(await findKnownAgent(tx, node));
    });
  }

  /** Judges an agent that is not banned. A copy is banned in the same transaction, and then refused. */
  async #judged<T>(
    node: string,
    judge: (tx: Queryable, agent: AgentRow) => Promise<Judgement<T>>,
  ): Promise<T> {
    const judged = await this.#database.transact(async (tx) => {
      const agent = await findAgent(tx, node);
      if (agent === undefined)
        throw new CarnetError('agent_unknown', `no agent of ${node} is known here: it must be attested`);
      checkNotBanned(agent);
      const judgement = await judge(tx, agent);
      if ('copied' in judgement) await ban(tx, agent, `copied: ${judgement.copied}`, COPY_ACTOR);
      return judgement;
    });
    if ('fair' in judged) return judged.fair;
    throw new CarnetError(
      'agent_copied',
      `two hold the identity of the agent of ${node} (${judged.copied}), and it is banned: find out who, then carnet agents unban ${node}`,
    );
  }
}

/**
 * Forgets agents that nothing was heard of for so long that they would have to be attested anew, like nodes that never
 * were; not one that is banned, because its ban counts. History has what they were. An agent that is attested at this
 * moment is locked, and stays. Of two servers that do so at once, each takes others.
 */
export async function pruneAgents(database: Queryable, max = MAX_FORGOTTEN): Promise<void> {
  const long = `statement_timestamp() - interval '${KEPT}'`;
  await database.query(
    `DELETE FROM agent WHERE node = ANY (ARRAY(
       SELECT node FROM agent WHERE banned_at IS NULL AND expires_at < ${long}
         AND greatest(attested_at, last_seen_at) < ${long}
       ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))`,
    [max],
  );
}

/** What is answered to an honest agent, or how it shows that there is a copy of it. */
type Judgement<T> = { readonly fair: T } | { readonly copied: string };

function ofServer(node: string): CarnetError {
  return new CarnetError('conflict', `a server is the agent of ${node} itself: give the node another name`);
}

/**
 * Why an attestation by `method` does not take the agent's place. Who answers for one method may name nodes as he likes,
 * and another's must not be his; a join token is an operator's word.
 */
function refusalOf(agent: AgentRow, method: string): CarnetError {
  checkNotBanned(agent);
  if (agent.method !== method && method !== 'join_token' && agent.serial !== null)
    return new CarnetError(
      'attestation_failed',
      `${agent.node} was attested by ${agent.method}, and ${method} takes nobody's place: give the node another name, or first take its agent's with carnet agents ban ${agent.node} and unban`,
    );
  return new CarnetError('conflict', `${agent.node} was attested again meanwhile: this attestation is late`);
}

/** How a certificate shows that there is a copy, or null. Throws `agent_unknown` for one that counts no more. */
async function checkSerial(tx: Queryable, agent: AgentRow, serial: string): Promise<string | null> {
  if (serial === agent.serial) return null;
  const isPrevious = serial === agent.previous_serial;
  if (isPrevious && agent.seen_at === null) return null;
  if (isPrevious && agent.overlaps)
    throw new CarnetError('agent_unknown', `certificate ${serial} was replaced: show the newer one`);
  const renewal = await tx.query(
    `SELECT FROM issuance WHERE serial = decode($1, 'hex') AND profile = 'agent' AND evidence ->> 'attestation' = $2`,
    [serial, String(agent.attestation)],
  );
  if (agent.serial !== null && (serial === agent.attested_serial || renewal.length > 0))
    return `certificate ${serial} was shown after its successor`;
  throw new CarnetError(
    'agent_unknown',
    `certificate ${serial} of the agent of ${agent.node} counts no more: the agent must be attested anew`,
  );
}

/** What a server was not told of yet counts too: whom one has cut off tries the next. */
async function checkNotRevoked(tx: Queryable, serial: string): Promise<void> {
  const revoked = await tx.query("SELECT FROM revocation WHERE serial = decode($1, 'hex')", [serial]);
  if (revoked.length > 0) throw new CarnetError('unauthenticated', `certificate ${serial} is revoked`);
}

async function ban(tx: Queryable, { node }: AgentRow, reason: string, actor: string): Promise<void> {
  await tx.query(
    `UPDATE agent SET banned_at = statement_timestamp(), banned_by = $2, ban_reason = $3, session_id = NULL
     WHERE node = $1`,
    [node, actor, reason],
  );
  await tx.query("DELETE FROM consumer WHERE instance = 'agent:' || $1 AND agent = $1 || ' link'", [node]);
  await insertEvents(tx, [{ actor, action: 'agent.ban', subject: node, before: null, after: null, reason }]);
  await notify(tx, 'agents');
}

function checkNotBanned({ node, banned_at, ban_reason }: AgentRow): void {
  if (banned_at === null) return;
  throw new CarnetError(
    'agent_banned',
    `the agent of ${node} is banned since ${banned_at.toISOString()}: ${ban_reason}`,
  );
}
