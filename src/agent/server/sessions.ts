import { setTimeout as sleep } from 'node:timers/promises';
import { CarnetError } from '../../errors.ts';
import type { NodeStates } from './node-state.ts';
import type { Session } from './session.ts';

/** Ours: how many agents are sent something at the same time. What is sent is copied for each. */
const PUSHES_AT_ONCE = 16;
/** One that is slow to take it lets others go on beside it. */
const PUSH_TURN_MS = 2_000;

/** The sessions with this server, one for each agent. */
export class Sessions {
  readonly #states: NodeStates;
  readonly #byNode = new Map<string, Session>();
  /** The session that each connection carries, or carried last. */
  readonly #byConnection = new Map<string, Session>();
  readonly #replaced = new WeakSet<Session>();
  readonly #toPush = new Set<Session>();
  #pushing = 0;
  #onPushed: (session: Session) => void = () => undefined;

  constructor(states: NodeStates) {
    this.#states = states;
  }

  /** Calls `listener` after each push: what there was to send is on its way. */
  onPushed(listener: (session: Session) => void): void {
    this.#onPushed = listener;
  }

  get size(): number {
    return this.#byNode.size;
  }

  [Symbol.iterator](): IterableIterator<Session> {
    return this.#byNode.values();
  }

  /** The agent's session from now on: one before it ends. */
  add(session: Session): void {
    const { node, connection } = session.agent;
    const before = this.#byNode.get(node);
    this.#byNode.set(node, session);
    this.#byConnection.set(connection, session);
    if (before !== undefined) this.replaced(before);
    this.push([session]);
  }

  /** Another session of the agent counts now, here or at another server. */
  replaced(session: Session): void {
    this.#replaced.add(session);
    session.end(new CarnetError('unavailable', 'a newer session of this agent took the place of this one'));
  }

  remove(session: Session): void {
    if (this.#byNode.get(session.agent.node) === session) this.#byNode.delete(session.agent.node);
    this.#toPush.delete(session);
  }

  closed(connection: string): void {
    this.#byConnection.delete(connection);
  }

  /**
   * Whether an agent may be given something on its connection: if that carries its session, or did until it was closed to
   * be followed by another. So whoever holds a copy of its key must take the session from it, which is noticed. Throws
   * `unavailable`.
   */
  check(connection: string): void {
    const session = this.#byConnection.get(connection);
    if (session === undefined)
      throw new CarnetError(
        'unavailable',
        'this connection carries no session of the agent: begin one first',
      );
    if (this.#replaced.has(session))
      throw new CarnetError('unavailable', 'a newer session of this agent took the place of this connection');
  }

  /** Sends each of them what it was not sent yet; of several changes meanwhile only the last. */
  push(sessions: Iterable<Session> = this.#byNode.values()): void {
    for (const session of sessions) this.#toPush.add(session);
    while (this.#pushing < PUSHES_AT_ONCE && this.#toPush.size > 0) void this.#pushOne();
  }

  async #pushOne(): Promise<void> {
    const [session] = this.#toPush;
    if (session === undefined) return;
    this.#toPush.delete(session);
    this.#pushing++;
    const turn = new AbortController();
    await Promise.race([
      session.push(this.#states).then(() => this.#onPushed(session)),
      sleep(PUSH_TURN_MS, undefined, { signal: turn.signal }).catch(() => undefined),
    ]);
    turn.abort();
    this.#pushing--;
    this.push([]);
  }
}
