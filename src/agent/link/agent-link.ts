import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { IssuedSvid, IssueRequest } from '../../ca/issue-request.ts';
import type { IssuedJwt, JwtRequest } from '../../ca/jwt-request.ts';
import type { Clock } from '../../clock.ts';
import { CarnetError, type ErrorCode, errorCodeOf } from '../../errors.ts';
import type { Health, Hello, SessionResponse } from '../../gen/carnet/agent/v1/agent.ts';
import type { Logger } from '../../log.ts';
import { type Address, formatAddress } from '../../setting-values.ts';
import { LINK_LIMITS } from '../link-limits.ts';
import type { AgentIdentity } from './agent-identity.ts';
import { askedMs, backOffMs } from './back-off.ts';
import { Connection } from './connection.ts';
import { type Held, take } from './held.ts';
import { IssueBatches } from './issue-batches.ts';
import { checkIssued, wantedOf } from './issued.ts';
import { issuedJwtOf, jwtRequestOf } from './issued-jwt.ts';
import { NodeIdentity, type NodeIdentityOptions } from './node-identity.ts';
import { OwnIssuer } from './own-issuer.ts';
import { renewInTime, reportHealth } from './session-tasks.ts';

/** What the link needs of its surroundings. */
export interface AgentLinkOptions
  extends Pick<NodeIdentityOptions, 'trustDomain' | 'attestor' | 'readTrustBundle' | 'settle'> {
  /** At least one; tried in turn. */
  readonly servers: readonly Address[];
  /** Of the software. */
  readonly version: string;
  readonly health: () => Health;
  /** What a cache kept over a restart. */
  readonly kept: KeptLink | null;
  readonly clock: Clock;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
}

/** What of the link is worth keeping over a restart. */
export interface KeptLink {
  readonly identity: AgentIdentity;
  readonly held: Held;
}

/** What happened on the link. `kept`: what is worth keeping has changed. */
export type LinkEvent = 'entries' | 'bundle' | 'federated' | 'connected' | 'kept';

/** How the link is, for health, metrics and people. */
export interface LinkStatus {
  readonly connected: boolean;
  /** Why it isn't; null while it is. */
  readonly problem: string | null;
  /** End of the agent's own certificate, milliseconds since the epoch; null before it has one. */
  readonly certificateEnd: number | null;
  /** Sessions begun since the start. */
  readonly sessions: number;
}

/** A session that lasted this long was no failure. */
const STEADY_MS = 30_000;
/** No further try mends these while there is nothing to serve. */
const HOPELESS: ReadonlySet<ErrorCode> = new Set([
  'attestation_failed',
  'config_invalid',
  'invalid_argument',
]);
/** The servers take our certificate no more: another may help. */
const REFUSED: ReadonlySet<ErrorCode> = new Set([
  'unauthenticated',
  'permission_denied',
  'agent_unknown',
  'agent_copied',
  'agent_banned',
]);

/**
 * The agent's side of the link: attested, it keeps one session with one of the servers, and what they told. With all of
 * them away everything that was told stays, and it tries them in turn, with more and more time between.
 */
export class AgentLink {
  readonly #options: AgentLinkOptions;
  readonly #identity: NodeIdentity;
  readonly #issuer = new OwnIssuer(() => [...(this.#held?.wave ?? []), ...(this.#held?.urgent ?? [])]);
  readonly #runId = randomBytes(LINK_LIMITS.runIdBytes);
  readonly #batches = new IssueBatches(async (wanted) => this.#connected().issue(wanted));
  readonly #stop = new AbortController();
  readonly #informed = Promise.withResolvers<void>();
  #running: Promise<void> = Promise.resolve();
  #listener: (event: LinkEvent) => void = () => undefined;
  #held: Held | null;
  #connection: Connection | null = null;
  #problem = 'the agent is starting';
  #sessions = 0;

  constructor(options: AgentLinkOptions) {
    const { kept, trustDomain, attestor, readTrustBundle, clock, log } = options;
    this.#options = options;
    this.#held = kept?.held ?? null;
    this.#identity = new NodeIdentity(
      {
        ...{ trustDomain, attestor, readTrustBundle, clock, log },
        bundle: () => this.#held?.bundle ?? null,
        onChange: () => this.#listener('kept'),
        ...(options.settle && { settle: options.settle }),
      },
      kept?.identity ?? null,
    );
    if (this.#held !== null) this.#informed.resolve();
    this.#informed.promise.catch(() => undefined);
  }

  /** Calls `listener` from now on; it must not throw. */
  listen(listener: (event: LinkEvent) => void): void {
    this.#listener = listener;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Resolves once there is something to serve by. Rejects where no further try would help. */
  informed(): Promise<void> {
    return this.#informed.promise;
  }

  /** What the servers told last. Throws `unavailable` before {@link informed}. */
  held(): Held {
    if (this.#held === null) throw new CarnetError('unavailable', 'no server has answered yet');
    return this.#held;
  }

  /** Who the agent is. Throws `unavailable` before {@link informed}. */
  identity(): AgentIdentity {
    const { current } = this.#identity;
    if (current === null) throw new CarnetError('unavailable', 'the node is not attested yet');
    return current;
  }

  status(): LinkStatus {
    const connected = this.#connection !== null;
    return {
      connected,
      problem: connected ? null : this.#problem,
      certificateEnd: this.#identity.current?.notAfter ?? null,
      sessions: this.#sessions,
    };
  }

  /** Throws `unavailable` while there is no server, with why. */
  checkConnected(): void {
    this.#connected();
  }

  /**
   * Has a certificate issued by a server, and checks what it made. Throws what the server answered, `unavailable` while
   * there is none, `certificate_lint_failed`.
   */
  async issue(request: IssueRequest): Promise<IssuedSvid> {
    const issued = await this.#batches.issue(wantedOf(request));
    return checkIssued(issued, request, this.held().bundle.x509Authorities, this.#options.clock());
  }

  /** Has a JWT-SVID signed by a server, and verifies it. Throws as {@link issue} does. */
  async mintJwt(request: JwtRequest): Promise<IssuedJwt> {
    const answer = await this.#connected().issueJwt(jwtRequestOf(request));
    return issuedJwtOf(answer, request, this.held().bundle, this.#options.clock());
  }

  /** Resolves to JSON, as delivery/fleet.ts has it. Throws as {@link issue} does. */
  async loadFleet(socket: string): Promise<string> {
    return this.#connected().loadFleet(socket);
  }

  async reportFleet(socket: string, changes: string): Promise<void> {
    return this.#connected().reportFleet(socket, changes);
  }

  /** Ends the session; calls under way may end. */
  async close(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    this.#use(null);
  }

  #connected(): Connection {
    if (this.#connection !== null) return this.#connection;
    throw new CarnetError('unavailable', `no server can be reached: ${this.#problem}`);
  }

  async #run(): Promise<void> {
    const { servers, random } = this.#options;
    const { signal } = this.#stop;
    // Agents begin with different ones.
    let turn = Math.floor(random() * servers.length);
    for (let failures = 0; !signal.aborted; ) {
      const server = servers[turn % servers.length];
      if (server === undefined) throw new CarnetError('config_invalid', '--server-addr names no server');
      const began = performance.now();
      let pauseMs: number;
      try {
        await this.#serve(server);
        continue;
      } catch (error) {
        this.#use(null);
        if (signal.aborted) return;
        if (performance.now() - began > STEADY_MS) failures = 0;
        this.#failed(error, server, ++failures);
        if (this.#held === null && HOPELESS.has(errorCodeOf(error))) return this.#informed.reject(error);
        const rounds = Math.ceil(failures / servers.length);
        pauseMs = Math.max(backOffMs(rounds, this.#restMs(), random()), askedMs(error, random()));
      }
      turn++;
      await sleep(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Of the workloads' certificate that ends first; null where they have none. */
  #restMs(): number | null {
    const { health, clock } = this.#options;
    const { soonestEndMs } = health();
    return soonestEndMs === 0 ? null : soonestEndMs - clock();
  }

  /** One session. Resolves when the agent has another certificate, for the next one; rejects with why it is over. */
  async #serve(server: Address): Promise<void> {
    const identity = await this.#identity.get(server);
    const connection = new Connection(formatAddress(server), this.#identity.trust, identity);
    const over = new AbortController();
    const signal = AbortSignal.any([over.signal, this.#stop.signal]);
    const begun = Promise.withResolvers<void>();
    const session = connection.openSession(this.#hello(), (response) => {
      this.#take(response);
      if (this.#connection === connection) return;
      this.#use(connection);
      this.#options.log.info({ server: formatAddress(server), node: identity.node }, 'connected to a server');
      this.#listener('connected');
      begun.resolve();
    });
    try {
      await Promise.race([
        session.ended,
        aborted(signal),
        begun.promise.then(() =>
          renewInTime(this.#identity, identity, this.#issuer, connection, this.#options, signal),
        ),
        begun.promise.then(() => reportHealth(session, this.#options.health, signal)),
      ]);
    } catch (error) {
      connection.drain();
      throw error;
    } finally {
      over.abort();
      session.close();
    }
  }

  /** One connection is used at a time; the one before it ends with its calls. */
  #use(connection: Connection | null): void {
    const before = this.#connection;
    this.#connection = connection;
    if (connection !== null) this.#sessions++;
    if (before !== connection) before?.drain();
  }

  #take(response: SessionResponse): void {
    const before = this.#held;
    const held = take(before, response, this.#options.trustDomain);
    this.#held = held;
    this.#informed.resolve();
    if (held.index !== before?.index || held.denials !== before.denials) this.#listener('entries');
    if (held.bundle !== before?.bundle) this.#listener('bundle');
    if (held.federated !== before?.federated) this.#listener('federated');
    this.#listener('kept');
  }

  #hello(): Hello {
    const { version, health } = this.#options;
    const bundleSequence = this.#held?.bundle.sequence ?? 0;
    return { version, runId: this.#runId, soonestEndMs: health().soonestEndMs, bundleSequence };
  }

  /** The first failure in a row is worth a line, then each doubling. */
  #failed(error: unknown, server: Address, failures: number): void {
    const code = errorCodeOf(error);
    this.#problem = code === 'internal' ? 'internal error' : (error as Error).message;
    if (REFUSED.has(code)) this.#identity.refused();
    if (!Number.isInteger(Math.log2(failures))) return;
    const why = code === 'internal' ? { err: error } : { code, reason: this.#problem };
    this.#options.log.warn(
      { server: formatAddress(server), failures, ...why },
      'no server, and it is tried again; what was issued is served, and nothing is renewed',
    );
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
