import { type CallOptions, type ClientUnaryCall, Metadata, type ServiceError } from '@grpc/grpc-js';
import {
  type AgentCertificate,
  AgentLinkClient,
  type Hello,
  type IssueJwtRequest,
  type IssueJwtResponse,
  type IssueResponse,
  type SessionResponse,
  type Wanted,
} from '../../gen/carnet/agent/v1/agent.ts';
import { carnetErrorOf } from '../../grpc/error-code.ts';
import type { AgentIdentity } from './agent-identity.ts';
import { channelOptions, type ServerTrust, serverCredentials } from './channel.ts';
import { openSession, type Session } from './session.ts';

/** Ours: a server takes 5 s to give a record up, and may have others before us. */
const CALL_TIMEOUT_MS = 20_000;

type Unary<Q, A> = (
  request: Q,
  metadata: Metadata,
  options: Partial<CallOptions>,
  callback: (error: ServiceError | null, answer: A) => void,
) => ClientUnaryCall;

/** A channel to one server with one certificate of the agent's. Every call rejects with the server's own error code. */
export class Connection {
  readonly #client: AgentLinkClient;
  #underWay = 0;
  #draining = false;

  constructor(address: string, trust: ServerTrust, identity: AgentIdentity) {
    this.#client = new AgentLinkClient(address, serverCredentials(trust, identity), channelOptions(trust));
  }

  openSession(hello: Hello, onResponse: (response: SessionResponse) => void): Session {
    return openSession(this.#client, hello, onResponse);
  }

  issue(wanted: Wanted[]): Promise<IssueResponse> {
    return this.#call(this.#client.issue.bind(this.#client), { wanted });
  }

  issueJwt(request: IssueJwtRequest): Promise<IssueJwtResponse> {
    return this.#call(this.#client.issueJwt.bind(this.#client), request);
  }

  renew(csr: Uint8Array): Promise<AgentCertificate> {
    return this.#call(this.#client.renew.bind(this.#client), { csr });
  }

  /** Resolves to JSON. */
  async loadFleet(socket: string): Promise<string> {
    return (await this.#call(this.#client.loadFleet.bind(this.#client), { socket })).remains;
  }

  async reportFleet(socket: string, changes: string): Promise<void> {
    await this.#call(this.#client.reportFleet.bind(this.#client), { socket, changes });
  }

  /** Closes it when the calls under way have ended, which takes as long as a call may. */
  drain(): void {
    this.#draining = true;
    if (this.#underWay === 0) this.#client.close();
  }

  #call<Q, A>(method: Unary<Q, A>, request: Q): Promise<A> {
    this.#underWay++;
    return new Promise<A>((resolve, reject) => {
      method(request, new Metadata(), { deadline: Date.now() + CALL_TIMEOUT_MS }, (error, answer) =>
        error === null ? resolve(answer) : reject(carnetErrorOf(error)),
      );
    }).finally(() => {
      this.#underWay--;
      if (this.#draining) this.drain();
    });
  }
}
