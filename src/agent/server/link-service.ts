import type { ServerUnaryCall, sendUnaryData } from '@grpc/grpc-js';
import { RateLimit } from '../../api/rate-limit.ts';
import type { Issue } from '../../ca/issue-request.ts';
import type { Clock } from '../../clock.ts';
import type { FleetStore } from '../../delivery/fleet-report.ts';
import { CarnetError } from '../../errors.ts';
import {
  type AgentCertificate,
  AgentLinkService as DEFINITION,
  IssueJwtRequest,
  IssueRequest,
  LoadFleetRequest,
  type LoadFleetResponse,
  RenewRequest,
  ReportFleetRequest,
  type ReportFleetResponse,
  SessionRequest,
} from '../../gen/carnet/agent/v1/agent.ts';
import { type Decoded, decoderOf } from '../../grpc/decoded.ts';
import { statusWithCode } from '../../grpc/error-code.ts';
import { resetIfKept } from '../../grpc/reset.ts';
import type { TrustDomain } from '../../identity/spiffe-id.ts';
import type { TrustBundle } from '../../identity/trust-bundle.ts';
import { LINK_LIMITS } from '../link-limits.ts';
import type { AdmittedAgent, AgentGate } from './agent-gate.ts';
import type { AgentStore } from './agent-store.ts';
import { certifyAgent } from './certify-agent.ts';
import { type IssueService, TooFast } from './issue-service.ts';
import type { Listener } from './listener.ts';
import { parseFleetChanges } from './parse-fleet-changes.ts';
import type { LinkRefusals } from './refusals.ts';
import type { SessionCall } from './session.ts';
import type { SessionService } from './session-service.ts';
import type { Sessions } from './sessions.ts';

export interface LinkServiceOptions {
  readonly listener: Listener;
  readonly trustDomain: TrustDomain;
  readonly gate: AgentGate;
  readonly sessions: Sessions;
  readonly sessionService: SessionService;
  readonly issueService: IssueService;
  readonly agents: Pick<AgentStore, 'renewed'>;
  /** Under the profile `agent`. */
  readonly issueAgent: Issue;
  readonly bundle: () => TrustBundle;
  /** What is kept of one agent's instances: an agent has its own node's only. */
  readonly fleetOf: (node: string, socket: string) => FleetStore;
  readonly refusals: LinkRefusals;
  readonly clock: Clock;
}

const GRACE_MS = 5_000;
/** Of one agent: twenty at once, then one in 10 s. Each is on record for ever. */
const RENEWALS = { perSecond: 0.1, burst: 20 };
/** Of one agent: its reports are 200 ms apart. */
const REPORTS = { perSecond: 20, burst: 200 };
/** In bytes: the database writes each of them twice. */
const REPORTED = { perSecond: 1024 * 1024, burst: 64 * 1024 * 1024 };

/** Adds the service for attested agents. */
export function addLinkService(options: LinkServiceOptions): void {
  const { listener, sessionService, issueService } = options;
  const link = new LinkService(options);
  listener.addService(
    {
      session: {
        ...DEFINITION.session,
        requestDeserialize: decoderOf(SessionRequest),
        responseSerialize: (bytes: Buffer) => bytes,
      },
      issue: { ...DEFINITION.issue, requestDeserialize: decoderOf(IssueRequest) },
      issueJwt: { ...DEFINITION.issueJwt, requestDeserialize: decoderOf(IssueJwtRequest) },
      renew: { ...DEFINITION.renew, requestDeserialize: decoderOf(RenewRequest) },
      loadFleet: { ...DEFINITION.loadFleet, requestDeserialize: decoderOf(LoadFleetRequest) },
      reportFleet: { ...DEFINITION.reportFleet, requestDeserialize: decoderOf(ReportFleetRequest) },
    },
    {
      session: (call: SessionCall) => sessionService.serve(call),
      issue: link.unary('Issue', (agent, request: IssueRequest) => issueService.issue(agent, request)),
      issueJwt: link.unary('IssueJwt', (agent, request: IssueJwtRequest) =>
        issueService.issueJwt(agent, request),
      ),
      renew: link.unary('Renew', (agent, request: RenewRequest) => link.renew(agent, request)),
      loadFleet: link.unary('LoadFleet', (agent, request: LoadFleetRequest) =>
        link.loadFleet(agent, request),
      ),
      reportFleet: link.unary('ReportFleet', (agent, request: ReportFleetRequest) =>
        link.reportFleet(agent, request),
      ),
    },
  );
}

class LinkService {
  readonly #options: LinkServiceOptions;
  readonly #renewals: RateLimit;
  readonly #reports: RateLimit;
  readonly #reported: RateLimit;

  constructor(options: LinkServiceOptions) {
    this.#options = options;
    this.#renewals = new RateLimit(RENEWALS, options.clock);
    this.#reports = new RateLimit(REPORTS, options.clock);
    this.#reported = new RateLimit(REPORTED, options.clock);
  }

  /** A call that an agent may make on the connection of its session. */
  unary<Q, A>(what: string, handle: (agent: AdmittedAgent, request: Q) => Promise<A>) {
    return (call: ServerUnaryCall<Decoded<Q>, A>, answer: sendUnaryData<A>): void => {
      void this.#answer(call, what, handle).then(
        (response) => answer(null, response),
        (error) => answer(statusWithCode(error, error instanceof TooFast ? error.retryAfterMs : null)),
      );
    };
  }

  /** The certificate is on record before the agent's row has it, and both before it is released. */
  async renew(agent: AdmittedAgent, { csr }: RenewRequest): Promise<AgentCertificate> {
    take(this.#renewals, agent);
    const { trustDomain, issueAgent, agents, bundle } = this.#options;
    const { node, selectors, evidence, serial } = agent;
    return certifyAgent(
      { node, selectors, evidence: { ...evidence, renews: serial }, csr },
      { trustDomain, issue: issueAgent, bundle },
      (credential) => agents.renewed(node, serial, credential),
    );
  }

  async loadFleet({ node }: AdmittedAgent, { socket }: LoadFleetRequest): Promise<LoadFleetResponse> {
    const remains = await this.#options.fleetOf(node, parseSocket(socket)).load();
    return { remains: JSON.stringify(remains) };
  }

  async reportFleet(agent: AdmittedAgent, request: ReportFleetRequest): Promise<ReportFleetResponse> {
    take(this.#reports, agent);
    take(this.#reported, agent, request.changes.length);
    const { fleetOf, clock } = this.#options;
    const changes = parseFleetChanges(request.changes, clock());
    await fleetOf(agent.node, parseSocket(request.socket)).write(changes);
    return {};
  }

  async #answer<Q, A>(
    call: ServerUnaryCall<Decoded<Q>, A>,
    what: string,
    handle: (agent: AdmittedAgent, request: Q) => Promise<A>,
  ): Promise<A> {
    const { gate, sessions, listener, refusals } = this.#options;
    let node: string | null = null;
    const address = listener.addressOf(call);
    try {
      node = gate.identify(call).node;
      // Who has no session has had no turn either, and is to cost no question to the database.
      sessions.check(call.getPeer());
      const agent = await gate.admit(call);
      const { message } = call.request;
      if (message === null)
        throw new CarnetError('invalid_argument', `the request is not a valid ${what}Request`);
      const answered = await handle(agent, message);
      // What was made takes time, in which the agent may have been banned, revoked or attested anew.
      await gate.admit(call);
      return answered;
    } catch (error) {
      refusals.add({ error, node, address, what });
      throw error;
    } finally {
      resetIfKept(call, GRACE_MS);
    }
  }
}

function take(rate: RateLimit, { node }: AdmittedAgent, cost = 1): void {
  const seconds = rate.take(node, cost);
  if (seconds > 0) throw new TooFast(seconds);
}

function parseSocket(socket: string): string {
  if (
    !socket.startsWith('/') ||
    Buffer.byteLength(socket) > LINK_LIMITS.socketBytes ||
    /\p{Cc}/u.test(socket)
  )
    throw new CarnetError('invalid_argument', 'the socket is no absolute path');
  return socket;
}
