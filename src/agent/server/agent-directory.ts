import { CarnetError } from '../../errors.ts';
import type { AgentState } from './agent-store.ts';

/** What this replica last read of all agents: enough to refuse a call on a connection that was admitted earlier. */
export class AgentDirectory {
  #states: ReadonlyMap<string, AgentState> = new Map();
  #onChange: (readSince: number) => void = () => undefined;

  /** Calls `listener` after each read, with the time (of `performance.now()`) at which the read began. */
  onChange(listener: (readSince: number) => void): void {
    this.#onChange = listener;
  }

  /** Takes a read that began at `readSince`: what was committed by then is in it. */
  replace(states: readonly AgentState[], readSince: number): void {
    this.#states = new Map(states.map((state) => [state.node, state]));
    this.#onChange(readSince);
  }

  /**
   * Throws `agent_banned`, and `agent_unknown` for what an earlier attestation gave. An agent that is not in the
   * directory yet is not refused.
   */
  check(node: string, attestation: number): void {
    this.checkNotBanned(node);
    const current = this.#states.get(node)?.attestation ?? 0;
    if (attestation < current)
      throw new CarnetError(
        'agent_unknown',
        `the agent of ${node} was attested again since: what it was given before counts no more`,
      );
  }

  /** Throws `agent_banned`. */
  checkNotBanned(node: string): void {
    const reason = this.#states.get(node)?.banReason ?? null;
    if (reason !== null) throw new CarnetError('agent_banned', `the agent of ${node} is banned: ${reason}`);
  }

  /** The session that counts, anywhere; null for none, or none that is known here. */
  sessionOf(node: string): string | null {
    return this.#states.get(node)?.sessionId ?? null;
  }
}
