import type { ServerDuplexStream } from '@grpc/grpc-js';
import { CarnetError } from '../../errors.ts';
import type { Health, SessionRequest } from '../../gen/carnet/agent/v1/agent.ts';
import type { Decoded } from '../../grpc/decoded.ts';
import { statusWithCode } from '../../grpc/error-code.ts';
import { resetIfKept } from '../../grpc/reset.ts';
import type { AdmittedAgent } from './agent-gate.ts';
import { type NodeStates, PARTS, type Part } from './node-state.ts';

export type SessionCall = ServerDuplexStream<Decoded<SessionRequest>, Buffer>;

/** Ours: an agent that takes nothing for so long does not run any more. */
const WRITE_TIMEOUT_MS = 60_000;
/** From the session's end here to the end that its peer must then make of it. */
const GRACE_MS = 5_000;

/** One agent's session: what it was sent, and what it said last. Messages to it never queue. */
export class Session {
  readonly id: string;
  readonly agent: AdmittedAgent;
  /** Of `performance.now()`: when the database had it. */
  readonly begunAt: number;
  readonly call: SessionCall;
  readonly #sent = new Map<Part, Buffer>();
  readonly #ended = Promise.withResolvers<void>();
  #health: Health | null = null;
  #bundleSequence = 0;
  #dirty = false;
  #writing = false;
  #over = false;
  #refused = false;

  constructor(id: string, agent: AdmittedAgent, call: SessionCall) {
    this.id = id;
    this.agent = agent;
    this.begunAt = performance.now();
    this.call = call;
    for (const event of ['cancelled', 'close', 'end'] as const) call.once(event, () => this.#finish());
  }

  /** Resolves when the session is over, whoever ended it. */
  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  /** Whether it was ended by {@link end}. */
  get refused(): boolean {
    return this.#refused;
  }

  get health(): Health | null {
    return this.#health;
  }

  /** Of the trust bundle that it was sent last; 0 before the first. */
  get bundleSequence(): number {
    return this.#bundleSequence;
  }

  heard(health: Health): void {
    this.#health = health;
  }

  /**
   * Sends the parts that are not as they were sent last, and resolves once they are on their way. While something is on
   * its way already this only takes note: what is sent then is how things are then.
   */
  async push(states: NodeStates): Promise<void> {
    this.#dirty = true;
    if (this.#writing) return;
    this.#writing = true;
    while (this.#dirty && !this.#over) {
      this.#dirty = false;
      const fresh = PARTS.flatMap((part) => {
        const bytes = states.part(part, this.agent);
        return this.#sent.get(part) === bytes ? [] : [[part, bytes] as const];
      });
      for (const [part, bytes] of fresh) this.#sent.set(part, bytes);
      const { bundleSequence } = states;
      if (fresh.length > 0) await this.#write(Buffer.concat(fresh.map(([, bytes]) => bytes)));
      this.#bundleSequence = bundleSequence;
    }
    this.#writing = false;
  }

  /** Ends the session, with why. */
  end(error: CarnetError): void {
    if (this.#over) return;
    this.#refused = true;
    this.#finish();
    this.call.emit('error', Object.assign(new Error(error.message), statusWithCode(error)));
    resetIfKept(this.call, GRACE_MS);
  }

  async #write(message: Buffer): Promise<void> {
    const { promise: late, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(new Error('late')), WRITE_TIMEOUT_MS);
    try {
      const written = new Promise<void>((resolve) => this.call.write(message, () => resolve()));
      await Promise.race([written, this.ended, late]);
    } catch {
      this.end(new CarnetError('timeout', `the agent took nothing for ${WRITE_TIMEOUT_MS / 1000} s`));
    } finally {
      clearTimeout(timer);
    }
  }

  #finish(): void {
    this.#over = true;
    this.#ended.resolve();
  }
}
