import type { AgentRecord, AgentStore } from '../../src/agent/server/agent-store.ts';
import type {
  JoinTokenRecord,
  JoinTokenStore,
  NewJoinToken,
} from '../../src/agent/server/join-token-store.ts';
import { CarnetError } from '../../src/errors.ts';

const MADE = new Date('2026-03-01T00:00:00Z');

export class MemoryJoinTokens implements JoinTokenStore {
  readonly tokens = new Map<string, JoinTokenRecord>();

  async create({ sha256: _, ...token }: NewJoinToken, actor: string): Promise<JoinTokenRecord> {
    const record = { ...token, actor, createdAt: MADE, usedAt: null, usedBy: null, revokedAt: null };
    this.tokens.set(token.id, record);
    return record;
  }

  async list(): Promise<JoinTokenRecord[]> {
    return [...this.tokens.values()];
  }

  async revoke(id: string): Promise<JoinTokenRecord> {
    const token = this.tokens.get(id);
    if (token === undefined) throw new CarnetError('not_found', `there is no join token ${id}`);
    const revoked = { ...token, revokedAt: MADE };
    this.tokens.set(id, revoked);
    return revoked;
  }

  async use(): Promise<JoinTokenRecord> {
    throw new CarnetError('join_token_unknown', 'nobody joins here');
  }
}

export class MemoryAgents implements Pick<AgentStore, 'list' | 'ban' | 'unban'> {
  readonly agents = new Map<string, AgentRecord>();

  /** An agent of this node, attested and away. */
  add(node: string): void {
    this.agents.set(node, {
      node,
      method: 'join_token',
      selectors: ['node:rack:7'],
      evidence: { join_token: '0011223344556677' },
      attestation: 1,
      serial: '00'.repeat(16),
      expiresAt: new Date('2026-03-02T00:00:00Z'),
      connected: false,
      version: null,
      firstAttestedAt: MADE,
      attestedAt: MADE,
      lastSeenAt: null,
      health: null,
      ban: null,
    });
  }

  async list(): Promise<AgentRecord[]> {
    return [...this.agents.values()];
  }

  async ban(node: string, reason: string, by: string): Promise<AgentRecord> {
    return this.#change(node, { ban: { at: MADE, by, reason } });
  }

  async unban(node: string): Promise<AgentRecord> {
    return this.#change(node, { ban: null, serial: null });
  }

  #change(node: string, change: Partial<AgentRecord>): AgentRecord {
    const agent = this.agents.get(node);
    if (agent === undefined) throw new CarnetError('not_found', `there is no agent of ${node}`);
    const changed = { ...agent, ...change };
    this.agents.set(node, changed);
    return changed;
  }
}
