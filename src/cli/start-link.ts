import { hostname } from 'node:os';
import { Admission } from '../agent/server/admission.ts';
import { AgentDirectory } from '../agent/server/agent-directory.ts';
import { AgentGate } from '../agent/server/agent-gate.ts';
import type { AgentStore } from '../agent/server/agent-store.ts';
import { addAttestService } from '../agent/server/attest-service.ts';
import { type ConfirmWorkload, IssueService } from '../agent/server/issue-service.ts';
import { createJoinTokenAttestor } from '../agent/server/join-token.ts';
import type { JoinTokenStore } from '../agent/server/join-token-store.ts';
import { addLinkService } from '../agent/server/link-service.ts';
import { type Listener, startListener } from '../agent/server/listener.ts';
import type { NodeAttestor } from '../agent/server/node-attestor.ts';
import { type LinkState, NodeStates } from '../agent/server/node-state.ts';
import { PeerCheck } from '../agent/server/peer.ts';
import { LinkRefusals } from '../agent/server/refusals.ts';
import { SessionService } from '../agent/server/session-service.ts';
import { Sessions } from '../agent/server/sessions.ts';
import type { Recorder } from '../audit/issuance.ts';
import type { Issue } from '../ca/issue-request.ts';
import type { MintJwt } from '../ca/jwt-request.ts';
import { AGENT } from '../ca/profile.ts';
import type { Clock } from '../clock.ts';
import type { ServerConfig } from '../config.ts';
import { PostgresAuthorityStore } from '../db/authorities.ts';
import { PostgresFleetStore } from '../db/consumers.ts';
import type { Database } from '../db/database.ts';
import type { Topic } from '../db/listen.ts';
import { insertEvents } from '../db/operator-events.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { EntryIndex } from '../policy/entry-index.ts';
import type { Denial } from '../revocation/denial.ts';
import type { Authorities } from '../rotation/authorities.ts';
import { LaterBundles } from '../rotation/later-bundles.ts';
import type { Address } from '../setting-values.ts';
import { createOwnIdentity, issueUnder } from './own-identity.ts';

export interface LinkOptions {
  readonly config: ServerConfig;
  readonly database: Database;
  readonly joinTokens: JoinTokenStore;
  readonly agents: AgentStore;
  /** Besides join tokens. */
  readonly attestors: readonly NodeAttestor[];
  /** Asked before anything is issued to a workload, where there is somebody to ask. */
  readonly confirm: ConfirmWorkload | null;
  readonly authorities: Authorities;
  readonly recorder: Recorder;
  readonly index: () => EntryIndex;
  readonly denials: () => readonly Denial[];
  readonly federated: () => ReadonlyMap<TrustDomain, TrustBundle>;
  /** For workloads; refuses what is denied. */
  readonly issue: Issue;
  /** Likewise. */
  readonly mintJwt: MintJwt;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** The server's side of the link to other nodes' agents, on `--grpc-addr`. */
export interface Link {
  readonly address: Address;
  /** For further services on the same address. */
  readonly listener: Listener;
  /** What is under a topic has been read anew. Rejects as the database does. */
  changed(topic: Topic): Promise<void>;
  close(): Promise<void>;
}

const DEFAULT_AGENT_TTL_SECONDS = 86_400;

/** Starts to listen for agents. Throws `config_invalid` where the address can't be had, and what issuing throws. */
export async function startLink(options: LinkOptions, address: Address): Promise<Link> {
  const { authorities, agents, clock, log } = options;
  await using stack = new AsyncDisposableStack();
  const { trustDomain } = options.config;
  const directory = new AgentDirectory();
  const readAgents = async (): Promise<void> => {
    const since = performance.now();
    directory.replace(await agents.states(), since);
  };
  await readAgents();
  let listener: Listener | null = null;
  const identity = await createOwnIdentity(options, {
    dnsNames: options.config.grpcDnsName,
    onChange: (changed) => listener?.setIdentity(changed),
    onFailed: "the server's own certificate could not be renewed; the old one serves",
  });
  stack.defer(() => identity.close());
  let trusted = trustedOf(authorities);
  let check = new PeerCheck(authorities.bundle(), authorities.list(), clock);
  const listening = await startListener({
    ...address,
    trustDomain,
    identity: identity.current,
    check: () => check,
    log,
  });
  listener = listening;
  stack.defer(() => listening.close());
  const states = new NodeStates(stateOf(options));
  const sessions = new Sessions(states);
  const service = addServices(options, { listener: listening, directory, sessions });
  stack.defer(() => service.close());
  const owned = stack.move();
  return {
    address: listening.address,
    listener: listening,
    changed: async (topic) => {
      if (topic === 'agents') return readAgents();
      const now = trustedOf(authorities);
      if (now !== trusted) {
        trusted = now;
        check = new PeerCheck(authorities.bundle(), authorities.list(), clock);
        identity.authoritiesChanged();
      }
      if (states.replace(stateOf(options))) sessions.push();
      await service.recheck();
    },
    close: () => owned.disposeAsync(),
  };
}

interface LinkParts {
  readonly listener: Listener;
  readonly directory: AgentDirectory;
  readonly sessions: Sessions;
}

function addServices(options: LinkOptions, { listener, directory, sessions }: LinkParts): SessionService {
  const { config, database, agents, authorities, clock, log, metrics } = options;
  const { trustDomain } = config;
  const refusals = new LinkRefusals({
    record: (event) => insertEvents(database, [event]),
    counted: (code) => metrics.agentRefusals.inc({ code }),
    clock,
    log,
  });
  const issueAgent = issueUnder(AGENT, agentTtl(config), options);
  const bundle = (): TrustBundle => authorities.bundle();
  addAttestService({
    listener,
    trustDomain,
    attestors: [createJoinTokenAttestor(options.joinTokens), ...options.attestors],
    agents,
    directory,
    ownNode: config.noAgent ? null : (config.nodeName ?? hostname()),
    issue: issueAgent,
    bundle,
    refusals,
    clock,
  });
  const gate = new AgentGate(listener, agents, directory);
  listener.onClosed((connection) => sessions.closed(connection));
  const sessionService = new SessionService({
    gate,
    admission: new Admission(),
    agents,
    directory,
    sessions,
    refusals,
    onHeld: laterBundles(options),
    counted: (open, waiting) => {
      metrics.agentSessions.set(open);
      metrics.agentsWaiting.set(waiting);
    },
    clock,
    log,
  });
  addLinkService({
    listener,
    trustDomain,
    gate,
    sessions,
    sessionService,
    issueService: new IssueService({
      authorize: (selectors) => options.index().authorize(selectors),
      confirm: options.confirm,
      issue: options.issue,
      mintJwt: options.mintJwt,
      refusals,
      clock,
    }),
    agents,
    issueAgent,
    bundle,
    fleetOf: (node, socket) => new PostgresFleetStore(database, node, socket),
    refusals,
    clock,
  });
  return sessionService;
}

/** Tells of agents that hold later bundles than this server: what the database has is published above them. */
function laterBundles({ database, authorities, clock, log }: LinkOptions) {
  const bundles = new LaterBundles({
    store: new PostgresAuthorityStore(database),
    clock,
    onPublished: (sequence) =>
      log.warn(
        { sequence },
        'an agent held a later bundle than the database: what counts now is published above it',
      ),
  });
  return (node: string, sequence: number): void => {
    bundles
      .heard(node, sequence, authorities.bundle().sequence)
      .catch((error: unknown) => log.warn({ err: error }, 'a later bundle could not be looked into'));
  };
}

function stateOf({ authorities, index, denials, federated }: LinkOptions): LinkState {
  // A successor that has not signed yet is under another root than the signer, and no certificate's issuer.
  const issuing = authorities
    .list()
    .filter(({ kind, state }) => kind === 'issuing' && !['prepared', 'published', 'retired'].includes(state));
  const superseded = (how: 'wave' | 'urgent'): string[] =>
    issuing.filter(({ id }) => authorities.isSuperseded(id) === how).map(({ id }) => id);
  return {
    entries: index().entries,
    bundle: authorities.bundle(),
    denials: denials(),
    superseded: { wave: superseded('wave'), urgent: superseded('urgent') },
    federated: federated(),
  };
}

/** What peers are judged by, in short: it is read anew at times, and mostly for nothing. */
export function trustedOf(authorities: Authorities): string {
  return [
    authorities.bundle().sequence,
    ...authorities.list().map(({ id, state }) => `${id} ${state}`),
  ].join();
}

/** What an agent that is away for longer must do is to be attested anew. */
function agentTtl({ agentTtl, issuingCaTtl }: ServerConfig): number {
  return agentTtl ?? Math.min(DEFAULT_AGENT_TTL_SECONDS, issuingCaTtl);
}
