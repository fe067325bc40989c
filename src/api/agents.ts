import { z } from 'zod';
import type { AgentRecord, AgentStore } from '../agent/server/agent-store.ts';
import { TextInput, Time, timeText } from './fields.ts';
import { cutPage, PAGE_QUERY, pageSchema } from './page.ts';
import { rolesFor } from './role.ts';
import { type Caller, defineRoute, type Route } from './route.ts';

const AgentBody = z
  .strictObject({
    node: z.string(),
    method: z.string().meta({ description: 'How the node was attested last' }),
    selectors: z.array(z.string()).meta({ description: 'What that showed, besides `node:name`' }),
    evidence: z
      .record(z.string(), z.unknown())
      .nullable()
      .meta({ description: 'What attestation saw of the node; null for who reads no evidence' }),
    attestations: z.int(),
    serial: z
      .string()
      .nullable()
      .meta({ description: 'Of its newest certificate; null: it must be attested anew' }),
    expires_at: Time.meta({ description: 'When it must be attested anew, if it does not renew by then' }),
    connected: z.boolean(),
    version: z.string().nullable().meta({ description: "Its software's, by its own word" }),
    first_attested_at: Time,
    attested_at: Time,
    last_seen_at: Time.nullable(),
    health: z
      .strictObject({
        instances: z.int(),
        certificates: z.int(),
        failing: z.int().meta({ description: 'Certificates whose renewal fails' }),
        soonest_end: Time.nullable().meta({ description: 'When the first certificate ends that it holds' }),
      })
      .nullable()
      .meta({ description: 'How it fares, by its own word of the last minute or of when it was seen last' }),
    ban: z.strictObject({ at: Time, by: z.string(), reason: z.string() }).nullable(),
  })
  .meta({ id: 'Agent' });

const BanInput = z
  .strictObject({
    reason: TextInput.meta({ description: 'In your words; on record, and told to the agent' }),
  })
  .meta({ id: 'AgentBan' });

const NodeParam = z.strictObject({ node: z.string().max(253) });

export type AgentBody = z.output<typeof AgentBody>;

export function agentRoutes(agents: Pick<AgentStore, 'list' | 'ban' | 'unban'>): Route[] {
  return [
    defineRoute({
      method: 'GET',
      path: '/v1/agents',
      name: 'listAgents',
      access: 'reader',
      summary: "List the other nodes' agents",
      description: 'By node. Those that run in a server are not among them.',
      query: z.strictObject(PAGE_QUERY),
      response: pageSchema('AgentPage', AgentBody),
      handle: async ({ query, caller }) => {
        const page = cutPage(await agents.list(), ({ node }) => node, query);
        return { items: page.items.map((agent) => agentBody(agent, caller)), next_cursor: page.nextCursor };
      },
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/agents/{node}/ban',
      name: 'banAgent',
      access: 'operator',
      summary: 'Ban an agent',
      description:
        'At once, at every server: it obtains nothing more, and its node is not attested again. What its workloads ' +
        'hold stays valid until it ends: `POST /v1/revocations` with the node ends that too.',
      params: NodeParam,
      body: BanInput,
      response: AgentBody,
      handle: async ({ params: { node }, body: { reason }, caller }) =>
        agentBody(await agents.ban(node, reason, caller.actor), caller),
    }),
    defineRoute({
      method: 'POST',
      path: '/v1/agents/{node}/unban',
      name: 'unbanAgent',
      access: 'operator',
      summary: "Lift an agent's ban",
      description: 'Its certificates count no more: it must be attested anew.',
      params: NodeParam,
      response: AgentBody,
      handle: async ({ params: { node }, caller }) =>
        agentBody(await agents.unban(node, caller.actor), caller),
    }),
  ];
}

function agentBody(agent: AgentRecord, { role }: Pick<Caller, 'role'>): z.input<typeof AgentBody> {
  const { ban, health } = agent;
  const readsEvidence = role !== null && rolesFor('auditor').includes(role);
  return {
    node: agent.node,
    method: agent.method,
    selectors: [...agent.selectors],
    evidence: readsEvidence ? { ...agent.evidence } : null,
    attestations: agent.attestation,
    serial: agent.serial,
    expires_at: timeText(agent.expiresAt),
    connected: agent.connected,
    version: agent.version,
    first_attested_at: timeText(agent.firstAttestedAt),
    attested_at: timeText(agent.attestedAt),
    last_seen_at: agent.lastSeenAt && timeText(agent.lastSeenAt),
    health: health && {
      instances: health.instances,
      certificates: health.certificates,
      failing: health.failing,
      soonest_end: health.soonestEndMs === 0 ? null : timeText(new Date(health.soonestEndMs)),
    },
    ban: ban && { at: timeText(ban.at), by: ban.by, reason: ban.reason },
  };
}
