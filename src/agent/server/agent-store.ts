import type { AttestedNode } from './node-attestor.ts';

/** A node's agent as operators see it. */
export interface AgentRecord {
  readonly node: string;
  /** How its node was attested last. */
  readonly method: string;
  readonly selectors: readonly string[];
  readonly evidence: Readonly<Record<string, unknown>>;
  /** Counts up from 1. */
  readonly attestation: number;
  /** Of its newest certificate, lower-case hex; null where it must be attested anew. */
  readonly serial: string | null;
  readonly expiresAt: Date;
  /** Whether it has a session with any server now. */
  readonly connected: boolean;
  /** Its software's, by its own word. */
  readonly version: string | null;
  readonly firstAttestedAt: Date;
  readonly attestedAt: Date;
  readonly lastSeenAt: Date | null;
  /** As it said last; null before. */
  readonly health: AgentHealth | null;
  readonly ban: Ban | null;
}

/** What an agent says of itself. */
export interface AgentHealth {
  /** That it serves now, and the certificates that it holds for them. */
  readonly instances: number;
  readonly certificates: number;
  /** Of these, whose renewal fails. */
  readonly failing: number;
  /** When the first of them ends, Unix milliseconds; 0 for none. */
  readonly soonestEndMs: number;
}

export interface Ban {
  readonly at: Date;
  /** `operator:<token name>`, or `server:link` for a copy that was noticed. */
  readonly by: string;
  readonly reason: string;
}

/** A certificate that is about to be given to an agent. */
export interface AgentCredential {
  /** Lower-case hex. */
  readonly serial: string;
  readonly expiresAt: Date;
}

/** What a shown certificate is worth, as the database has it. */
export interface Standing {
  readonly method: string;
  readonly selectors: readonly string[];
  readonly evidence: Readonly<Record<string, unknown>>;
  readonly attestation: number;
}

/** What replicas keep in mind of each agent, to refuse calls on connections that stand. */
export interface AgentState {
  readonly node: string;
  readonly attestation: number;
  readonly sessionId: string | null;
  readonly banReason: string | null;
}

/**
 * The agents. What changes who may speak wakes every replica. A ban is on record as an operator's event, whoever
 * pronounced it.
 */
export interface AgentStore {
  /**
   * Takes up a node that was just attested: what its agent was given before counts no more. Throws `agent_banned`;
   * `attestation_failed` for a node that another method attested, unless this one is the join token; `conflict` where a
   * certificate that was recorded later took the place already, and for a node that a server runs on.
   */
  attested(method: string, node: AttestedNode, credential: AgentCredential): Promise<void>;
  /**
   * A connection shows a certificate of the node for the first time. Throws `agent_unknown` for one that was replaced by
   * a new attestation, or is of no agent at all; `unauthenticated` for one that is revoked; `agent_banned`; and `agent_copied` for one whose successor is in use
   * elsewhere, which bans the agent.
   */
  presented(node: string, serial: string): Promise<Standing>;
  /** A renewal: the certificate before stays good until the new one is shown. Throws as `presented` does. */
  renewed(node: string, shown: string, credential: AgentCredential): Promise<void>;
  /**
   * A session begins, and ends whatever session the agent had. Throws `agent_banned`; `agent_copied` where a process
   * comes back that another had taken the place of, which bans the agent.
   */
  sessionBegan(node: string, session: NewSession): Promise<void>;
  /** Nothing if another has taken its place. */
  sessionEnded(node: string, sessionId: string): Promise<void>;
  /**
   * These sessions are alive, and this is what they say of themselves, for what operators see; and what bundle they were
   * sent, which rotations wait for. One that is away counts until its certificate ends, or it is banned.
   */
  seen(agents: readonly SeenAgent[]): Promise<void>;
  /** Of those that may be heard of again: banned, or with a certificate that has not ended for a month. */
  states(): Promise<AgentState[]>;
  /** By node. */
  list(): Promise<AgentRecord[]>;
  /** One that is banned already stays so, with its first reason. Throws `not_found`. */
  ban(node: string, reason: string, actor: string): Promise<AgentRecord>;
  /** What it was given before counts no more: it must be attested anew. Throws `not_found`. */
  unban(node: string, actor: string): Promise<AgentRecord>;
}

export interface SeenAgent {
  readonly node: string;
  readonly health: AgentHealth | null;
  /** `x509Sequence` of the trust bundle that it was sent last; 0 for none. */
  readonly bundleSequence: number;
}

export interface NewSession {
  /** A UUID. */
  readonly id: string;
  /** Random, of one start of the agent. */
  readonly runId: Uint8Array;
  readonly version: string;
}
