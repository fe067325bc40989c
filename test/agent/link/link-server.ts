import { generateKeyPairSync } from 'node:crypto';
import type { handleUnaryCall, ServerDuplexStream } from '@grpc/grpc-js';
import { agentIdOf, serverIdOf } from '../../../src/agent/identity.ts';
import { type Listener, startListener } from '../../../src/agent/server/listener.ts';
import { PeerCheck } from '../../../src/agent/server/peer.ts';
import { createIssue } from '../../../src/ca/issue.ts';
import type { Issue } from '../../../src/ca/issue-request.ts';
import { AGENT, type LeafProfile, SERVER, X509_SVID } from '../../../src/ca/profile.ts';
import { CarnetError, type ErrorCode } from '../../../src/errors.ts';
import {
  type AgentCertificate,
  AgentLinkService,
  type AttestRequest,
  type AttestResponse,
  type Bundle,
  type Claim,
  type Health,
  type Hello,
  NodeAttestationService,
  type Outcome,
  type SessionRequest,
  type SessionResponse,
  type Wanted,
} from '../../../src/gen/carnet/agent/v1/agent.ts';
import { statusWithCode } from '../../../src/grpc/error-code.ts';
import { parseSpiffeId, parseTrustDomain, type SpiffeId } from '../../../src/identity/spiffe-id.ts';
import type { TrustBundle } from '../../../src/identity/trust-bundle.ts';
import { createLogger } from '../../../src/log.ts';
import { buildCsr } from '../../../src/x509/build-csr.ts';
import { createAuthorities } from '../../ca/authorities.ts';

export const TRUST_DOMAIN = parseTrustDomain('carnet.test');

type SessionStream = ServerDuplexStream<SessionRequest, SessionResponse>;

/** What the servers say no to, and to what they answer otherwise than they should. */
export interface Refusals {
  attest?: CarnetError | undefined;
  session?: CarnetError | undefined;
  renew?: CarnetError | undefined;
  /** Of a single certificate. */
  issue?: ((wanted: Wanted) => CarnetError | undefined) | undefined;
  /** Makes something else of what was issued. */
  forge?: ((outcome: Outcome, wanted: Wanted) => Promise<Outcome> | Outcome) | undefined;
}

/**
 * The servers' side of the link as an agent sees it, with a real CA and real TLS, that does as it is told and remembers what
 * it was sent. `stop()` and `start()` take it away and bring it back, at the same port and with the same CA.
 */
export class LinkServer implements AsyncDisposable {
  readonly claims: Claim[] = [];
  readonly answers: Uint8Array[] = [];
  readonly hellos: Hello[] = [];
  readonly healths: Health[] = [];
  /** Serials of the agent's certificates that sessions were opened with. */
  readonly serials: string[] = [];
  /** The certificates wanted in each call. */
  readonly batches: Wanted[][] = [];
  readonly reports: string[] = [];
  renewals = 0;
  readonly refusals: Refusals = {};
  /** What each session is told first. */
  state: SessionResponse;
  remains = '{"records":[],"unreported":[]}';
  /** Of agents' own certificates. */
  agentTtlSeconds = 3600;
  leafTtlSeconds = 3600;
  challenge: Uint8Array | null = null;
  node = 'node-1';
  port = 0;
  readonly bundle: TrustBundle;
  readonly authorities: Awaited<ReturnType<typeof createAuthorities>>;
  readonly #sessions = new Set<SessionStream>();
  #listener: Listener | null = null;

  static async start(): Promise<LinkServer> {
    const server = new LinkServer(await createAuthorities('ec-p256'));
    await server.start();
    return server;
  }

  /** Use {@link LinkServer.start}. */
  constructor(authorities: Awaited<ReturnType<typeof createAuthorities>>) {
    this.authorities = authorities;
    const roots = [authorities.root.signing.certificate];
    this.bundle = {
      ...{ trustDomain: TRUST_DOMAIN, sequence: 1, x509Sequence: 1 },
      ...{ x509Authorities: roots, crls: [], jwtAuthorities: [] },
    };
    this.state = {
      entries: { entries: [] },
      bundle: this.wireBundle(),
      denials: { denials: [] },
      superseded: { wave: [], urgent: [] },
      federated: { bundles: [] },
    };
  }

  get address(): { host: string; port: number } {
    return { host: '127.0.0.1', port: this.port };
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  async start(): Promise<void> {
    const [root, issuing] = [this.authorities.root.signing, this.authorities.issuing.signing];
    const keyPair = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const svid = await this.#sign(SERVER, buildCsr(keyPair), serverIdOf(TRUST_DOMAIN), 3600);
    this.#listener = await startListener({
      ...{ host: '127.0.0.1', port: this.port, trustDomain: TRUST_DOMAIN },
      identity: {
        privateKey: keyPair.privateKey.export({ format: 'der', type: 'pkcs8' }),
        chain: [...svid.chain, root.certificate],
        roots: this.bundle.x509Authorities,
      },
      check: () => new PeerCheck(this.bundle, [root, issuing], Date.now),
      log: createLogger('fatal'),
    });
    this.port = this.#listener.address.port;
    this.#serve(this.#listener);
  }

  async stop(): Promise<void> {
    for (const session of this.#sessions) session.destroy();
    this.#sessions.clear();
    await this.#listener?.close();
    this.#listener = null;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /** Tells all sessions what is new, and those to come. */
  tell(change: Partial<SessionResponse>): void {
    this.state = { ...this.state, ...change };
    const nothing = { entries: undefined, bundle: undefined, denials: undefined };
    for (const session of this.#sessions)
      session.write({ ...nothing, superseded: undefined, federated: undefined, ...change });
  }

  /** Ends all sessions with an error. */
  drop(code: ErrorCode): void {
    for (const session of this.#sessions) fail(session, new CarnetError(code, `told to say ${code}`));
    this.#sessions.clear();
  }

  /** The bundle as it is told, with changes. */
  wireBundle(changes: Partial<Bundle> = {}): Bundle {
    const { trustDomain, sequence, x509Sequence, x509Authorities, crls } = this.bundle;
    const jwtAuthorities: Bundle['jwtAuthorities'] = [];
    const lists = { x509Authorities: [...x509Authorities], crls: [...crls], jwtAuthorities };
    return { trustDomain, sequence, x509Sequence, ...lists, ...changes };
  }

  /** A real certificate of this CA's. */
  async certificate(csr: Uint8Array, identity: string, ttlSeconds = 3600): Promise<readonly Uint8Array[]> {
    return (await this.#sign(X509_SVID, csr, parseSpiffeId(identity), ttlSeconds)).chain;
  }

  #serve(listener: Listener): void {
    listener.addService(NodeAttestationService, {
      attest: (stream: ServerDuplexStream<AttestRequest, AttestResponse>) => void this.#attest(stream),
    });
    listener.addService(AgentLinkService, {
      session: (stream: SessionStream) => this.#session(listener, stream),
      issue: unary(({ wanted }: { wanted: Wanted[] }) => this.#issue(wanted)),
      issueJwt: unary(() => Promise.reject(new CarnetError('method_not_allowed', 'not here'))),
      renew: unary(async ({ csr }: { csr: Uint8Array }) => {
        if (this.refusals.renew !== undefined) throw this.refusals.renew;
        this.renewals++;
        return this.#agentCertificate(csr);
      }),
      loadFleet: unary(async () => ({ remains: this.remains })),
      reportFleet: unary(async ({ changes }: { changes: string }) => {
        this.reports.push(changes);
        return {};
      }),
    });
  }

  #attest(stream: ServerDuplexStream<AttestRequest, AttestResponse>): void {
    let claim: Claim | undefined;
    const certify = async (): Promise<void> => {
      const certificate = await this.#agentCertificate(claim?.csr ?? new Uint8Array());
      stream.write({ step: { $case: 'certificate', value: certificate } });
      stream.end();
    };
    stream.on('error', () => undefined);
    stream.on('data', ({ step }: AttestRequest) => {
      if (this.refusals.attest !== undefined) return fail(stream, this.refusals.attest);
      if (step?.$case === 'claim') {
        claim = step.value;
        this.claims.push(claim);
      }
      if (step?.$case === 'challengeAnswer') this.answers.push(step.value);
      if (step?.$case === 'claim' && this.challenge !== null)
        stream.write({ step: { $case: 'challenge', value: this.challenge } });
      else void certify();
    });
  }

  #session(listener: Listener, stream: SessionStream): void {
    stream.on('error', () => undefined);
    stream.on('close', () => this.#sessions.delete(stream));
    stream.on('data', ({ message }: SessionRequest) => {
      if (message?.$case === 'health') return void this.healths.push(message.value);
      if (message?.$case !== 'hello') return;
      try {
        const caller = listener.callerOf(stream);
        if (caller.kind !== 'agent') throw new CarnetError('unauthenticated', 'for agents');
        if (this.refusals.session !== undefined) throw this.refusals.session;
        this.serials.push(caller.serial);
      } catch (error) {
        return fail(stream, error);
      }
      this.hellos.push(message.value);
      this.#sessions.add(stream);
      stream.write(this.state);
    });
  }

  async #issue(wanted: Wanted[]): Promise<{ outcomes: Outcome[] }> {
    this.batches.push(wanted);
    const { issue: refuse, forge } = this.refusals;
    const outcomes: Outcome[] = [];
    for (const one of wanted) {
      const refusal = refuse?.(one);
      const outcome: Outcome =
        refusal === undefined
          ? await this.#issued(one)
          : { outcome: { $case: 'refused', value: { code: refusal.code, message: refusal.message } } };
      outcomes.push(forge === undefined ? outcome : await forge(outcome, one));
    }
    return { outcomes };
  }

  async #issued({ csr, spiffeId, entryId }: Wanted): Promise<Outcome> {
    const svid = await this.#sign(X509_SVID, csr, parseSpiffeId(spiffeId), this.leafTtlSeconds);
    const entry = this.state.entries?.entries.find(({ id }) => id === entryId);
    const { serial, authority } = svid;
    const value = { chain: [...svid.chain], serial, authority, entryVersion: entry?.version ?? 1 };
    return { outcome: { $case: 'issued', value } };
  }

  async #agentCertificate(csr: Uint8Array): Promise<AgentCertificate> {
    const svid = await this.#sign(AGENT, csr, agentIdOf(TRUST_DOMAIN, this.node), this.agentTtlSeconds);
    const selectors = [`node:name:${this.node}`];
    return { chain: [...svid.chain], bundle: this.wireBundle(), node: this.node, selectors };
  }

  #sign(profile: LeafProfile, csr: Uint8Array, spiffeId: SpiffeId, ttlSeconds: number): ReturnType<Issue> {
    const issue = createIssue({
      profile,
      activeAuthority: () => this.authorities.issuing.signing,
      recorder: { record: async () => undefined },
      clock: Date.now,
      defaultTtlSeconds: ttlSeconds,
      backdateSeconds: 0,
    });
    const none = { entryId: null, entryVersion: null, dnsNames: [], ttlSeconds: null };
    return issue({
      csr,
      grant: { ...none, spiffeId },
      attestation: { instance: 'test', selectors: [], evidence: {} },
      node: null,
      requester: 'test',
    });
  }
}

function unary<Q, A>(answer: (request: Q) => Promise<A>): handleUnaryCall<Q, A> {
  return ({ request }, callback) => {
    answer(request).then(
      (value) => callback(null, value),
      (error: unknown) => callback(statusWithCode(error)),
    );
  };
}

function fail(stream: { emit(event: 'error', error: unknown): boolean }, error: unknown): void {
  stream.emit('error', Object.assign(new Error(), statusWithCode(error)));
}
