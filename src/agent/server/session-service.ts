import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { RateLimit } from '../../api/rate-limit.ts';
import type { Clock } from '../../clock.ts';
import { CarnetError, errorCodeOf } from '../../errors.ts';
import type { Hello, SessionRequest } from '../../gen/carnet/agent/v1/agent.ts';
import type { Decoded } from '../../grpc/decoded.ts';
import { statusWithCode } from '../../grpc/error-code.ts';
import { MessageReader } from '../../grpc/message-reader.ts';
import { resetIfKept } from '../../grpc/reset.ts';
import type { Logger } from '../../log.ts';
import { LINK_LIMITS } from '../link-limits.ts';
import { type Admission, TooManyWaiting } from './admission.ts';
import type { AgentDirectory } from './agent-directory.ts';
import type { AgentCaller, AgentGate } from './agent-gate.ts';
import type { AgentStore } from './agent-store.ts';
import { TooFast } from './issue-service.ts';
import type { LinkRefusals } from './refusals.ts';
import { Session, type SessionCall } from './session.ts';
import type { Sessions } from './sessions.ts';

export interface SessionServiceOptions {
  readonly gate: AgentGate;
  readonly admission: Admission;
  readonly agents: Pick<AgentStore, 'sessionBegan' | 'sessionEnded' | 'seen'>;
  readonly directory: AgentDirectory;
  readonly sessions: Sessions;
  readonly refusals: LinkRefusals;
  /** How many sessions are open, and how many agents wait. */
  readonly counted: (open: number, waiting: number) => void;
  /** An agent that begins a session holds the bundle of this number; 0: none. */
  readonly onHeld: (node: string, bundleSequence: number) => void;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Of one agent: a restart, a renewal, a server that stops are a few; one that begins without end takes others' turns. */
const BEGINNINGS = { perSecond: 0.5, burst: 20 };
/** Ours. */
const HELLO_TIMEOUT_MS = 15_000;
/** Between looks at whether each agent may still be served, and words to the database that it is alive. */
const LOOK_MS = 30_000;
/** From a push to the word to the database: those of a moment gather. */
const TELL_MS = 250;
const GRACE_MS = 5_000;
/** One report in 5 s is an agent's habit; one that reports without end is heard at times. */
const HEALTH_INTERVAL_MS = 1_000;
/** The last instant that a Date can be. */
const MAX_TIME_MS = 8.64e15;
const PRINTABLE = /^[\x20-\x7e]*$/;

/** Begins, keeps and ends the sessions of agents. */
export class SessionService {
  readonly #options: SessionServiceOptions;
  readonly #rate: RateLimit;
  readonly #closing = new AbortController();
  readonly #looking: Promise<void>;
  readonly #open = new Set<Promise<void>>();
  readonly #untold = new Set<Session>();
  #telling: Promise<void> | null = null;

  constructor(options: SessionServiceOptions) {
    this.#options = options;
    this.#rate = new RateLimit(BEGINNINGS, options.clock);
    options.directory.onChange((readSince) => this.#directoryChanged(readSince));
    options.sessions.onPushed((session) => this.#pushed(session));
    this.#looking = this.#look();
  }

  /** Serves one call to its end. Never rejects. */
  serve(call: SessionCall): void {
    const served = this.#serve(call).finally(() => this.#open.delete(served));
    this.#open.add(served);
  }

  /** Ends those whose agent would be refused now. */
  async recheck(): Promise<void> {
    for (const session of this.#options.sessions)
      await this.#options.gate.admit(session.call).catch((error: unknown) => {
        if (error instanceof CarnetError) session.end(error);
      });
  }

  async close(): Promise<void> {
    const stopping = new CarnetError('shutting_down', 'this server is stopping: go to another');
    this.#closing.abort(stopping);
    for (const session of this.#options.sessions) session.end(stopping);
    await Promise.all([...this.#open, this.#looking, this.#telling]);
  }

  async #serve(call: SessionCall): Promise<void> {
    const { gate, agents, sessions, refusals } = this.#options;
    const gone = new AbortController();
    call.on('error', () => undefined);
    call.once('cancelled', () => gone.abort(new CarnetError('unavailable', 'the agent broke off')));
    let caller: AgentCaller | null = null;
    try {
      caller = gate.identify(call);
      const messages = new MessageReader<Decoded<SessionRequest>>(call);
      const hello = await readHello(messages, gone.signal);
      await this.#enter(caller.node, hello, AbortSignal.any([gone.signal, this.#closing.signal]));
      const session = await this.#begin(call, hello);
      this.#count();
      try {
        await Promise.race([session.ended, hear(session, messages)]);
      } finally {
        sessions.remove(session);
        this.#count();
        await agents.sessionEnded(session.agent.node, session.id).catch(() => undefined);
      }
      if (!session.refused) call.end();
    } catch (error) {
      const [node, address] = [caller?.node ?? null, caller?.address ?? ''];
      if (!gone.signal.aborted) refusals.add({ error, node, address, what: 'Session' });
      call.emit('error', Object.assign(new Error('refused'), statusWithCode(error, retryAfterMsFor(error))));
    } finally {
      resetIfKept(call, GRACE_MS);
    }
  }

  /** Before the database is asked anything: of a thousand agents at once it hears one by one. */
  async #enter(node: string, { soonestEndMs }: Hello, signal: AbortSignal): Promise<void> {
    const seconds = this.#rate.take(node);
    if (seconds > 0) throw new TooFast(seconds);
    const entered = this.#options.admission.enter(soonestEndMs, signal);
    this.#count();
    await entered;
  }

  async #begin(call: SessionCall, hello: Hello): Promise<Session> {
    const { agents, sessions, gate } = this.#options;
    const agent = await gate.admit(call);
    const id = randomUUID();
    await agents.sessionBegan(agent.node, { id, runId: hello.runId, version: hello.version });
    this.#closing.signal.throwIfAborted();
    const session = new Session(id, agent, call);
    sessions.add(session);
    this.#options.onHeld(agent.node, hello.bundleSequence);
    return session;
  }

  #count(): void {
    this.#options.counted(this.#options.sessions.size, this.#options.admission.waiting);
  }

  /** A read that began before a session did tells nothing of it; no session on record may mean a ban. */
  #directoryChanged(readSince: number): void {
    const { directory, sessions } = this.#options;
    for (const session of sessions) {
      const current = directory.sessionOf(session.agent.node);
      if (session.begunAt < readSince && current !== null && current !== session.id)
        sessions.replaced(session);
    }
    void this.recheck();
  }

  async #look(): Promise<void> {
    const { sessions } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      await this.recheck();
      await this.#tell(sessions);
    }
  }

  /** What was sent to many at once is told at once. */
  #pushed(session: Session): void {
    this.#untold.add(session);
    this.#telling ??= sleep(TELL_MS, undefined, { signal: this.#closing.signal })
      .then(() => {
        const sessions = [...this.#untold];
        this.#untold.clear();
        return this.#tell(sessions);
      })
      .catch(() => undefined)
      .finally(() => {
        this.#telling = null;
      });
  }

  /** What the database is not told now it is told at the next look. */
  async #tell(sessions: Iterable<Session>): Promise<void> {
    const seen = [...sessions].map(({ agent, health, bundleSequence }) => ({
      node: agent.node,
      health,
      bundleSequence,
    }));
    if (seen.length === 0) return;
    await this.#options.agents.seen(seen).catch((error: unknown) => {
      this.#options.log.debug({ code: errorCodeOf(error) }, 'the database was not told of the sessions');
    });
  }
}

async function readHello(
  messages: MessageReader<Decoded<SessionRequest>>,
  gone: AbortSignal,
): Promise<Hello> {
  const late = new AbortController();
  const timeout = sleep(HELLO_TIMEOUT_MS, undefined, {
    signal: AbortSignal.any([late.signal, gone]),
  }).then(
    () => {
      throw new CarnetError('timeout', `no hello within ${HELLO_TIMEOUT_MS / 1000} s`);
    },
    () => {
      throw new CarnetError('unavailable', 'the agent broke off');
    },
  );
  timeout.catch(() => undefined);
  try {
    const hello = await Promise.race([messages.next(), timeout]);
    return checkHello(hello?.message?.message);
  } finally {
    late.abort();
  }
}

function checkHello(message: SessionRequest['message']): Hello {
  if (message?.$case !== 'hello') throw invalid('the first message must be a hello');
  const { runId, version, soonestEndMs } = message.value;
  if (runId.length !== LINK_LIMITS.runIdBytes)
    throw invalid(`a run ID has ${LINK_LIMITS.runIdBytes} bytes, not ${runId.length}`);
  if (version.length > LINK_LIMITS.versionBytes || !PRINTABLE.test(version))
    throw invalid(`a version is at most ${LINK_LIMITS.versionBytes} printable characters`);
  if (soonestEndMs < 0) throw invalid('soonest_end_ms is negative');
  return message.value;
}

/** Takes note of what the agent says, until it ends its side or says what makes no sense. */
async function hear(session: Session, messages: MessageReader<Decoded<SessionRequest>>): Promise<void> {
  let heardAt = Number.NEGATIVE_INFINITY;
  for (;;) {
    const next = await messages.next();
    if (next === undefined) return;
    const message = next.message?.message;
    if (message?.$case !== 'health')
      return session.end(invalid('after its hello an agent sends its health, and nothing else'));
    if (performance.now() - heardAt < HEALTH_INTERVAL_MS) continue;
    heardAt = performance.now();
    const health = message.value;
    if (health.soonestEndMs < 0 || health.soonestEndMs > MAX_TIME_MS)
      return session.end(invalid('soonest_end_ms is no time'));
    session.heard(health);
  }
}

/** When to come back, where that is known. */
function retryAfterMsFor(error: unknown): number | null {
  return error instanceof TooManyWaiting || error instanceof TooFast ? error.retryAfterMs : null;
}

function invalid(message: string): CarnetError {
  return new CarnetError('invalid_argument', message);
}
