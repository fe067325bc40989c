import { hostname } from 'node:os';
import { AgentDirectory } from '../agent/server/agent-directory.ts';
import type { AgentStore } from '../agent/server/agent-store.ts';
import { addAttestService } from '../agent/server/attest-service.ts';
import { createJoinTokenAttestor } from '../agent/server/join-token.ts';
import type { JoinTokenStore } from '../agent/server/join-token-store.ts';
import { type Listener, startListener } from '../agent/server/listener.ts';
import type { NodeAttestor } from '../agent/server/node-attestor.ts';
import { PeerCheck } from '../agent/server/peer.ts';
import { LinkRefusals } from '../agent/server/refusals.ts';
import { ServerIdentity } from '../agent/server/server-identity.ts';
import type { Recorder } from '../audit/issuance.ts';
import { createIssue } from '../ca/issue.ts';
import type { Issue } from '../ca/issue-request.ts';
import { AGENT, type LeafProfile, SERVER } from '../ca/profile.ts';
import type { Clock } from '../clock.ts';
import type { ServerConfig } from '../config.ts';
import type { Database } from '../db/database.ts';
import type { Topic } from '../db/listen.ts';
import { insertEvents } from '../db/operator-events.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Denial } from '../revocation/denial.ts';
import type { Authorities } from '../rotation/authorities.ts';
import type { Address } from '../setting-values.ts';
import { countedIssue } from './measure.ts';
import { refuseDenied } from './refuse-denied.ts';

export interface LinkOptions {
  readonly config: ServerConfig;
  readonly database: Database;
  readonly joinTokens: JoinTokenStore;
  readonly agents: AgentStore;
  /** Besides join tokens. */
  readonly attestors: readonly NodeAttestor[];
  readonly authorities: Authorities;
  readonly recorder: Recorder;
  readonly denials: () => readonly Denial[];
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
  const { config, database, authorities, agents, clock, log, metrics } = options;
  const { trustDomain } = config;
  const directory = new AgentDirectory();
  const readAgents = async (): Promise<void> => {
    const since = performance.now();
    directory.replace(await agents.states(), since);
  };
  await readAgents();
  let listener: Listener | null = null;
  const identity = await ServerIdentity.create({
    trustDomain,
    host: hostname(),
    dnsNames: config.grpcDnsName,
    issue: issueUnder(SERVER, config.leafTtl, options),
    roots: () => authorities.bundle().x509Authorities,
    rootOf: (authority) => rootOf(authorities, authority),
    isSuperseded: (authority) => authorities.isSuperseded(authority),
    clock,
    random: Math.random,
    onChange: (changed) => listener?.setIdentity(changed),
    onFailed: (err) =>
      log.warn({ err }, "the server's own certificate could not be renewed; the old one serves"),
  });
  let check = new PeerCheck(authorities.bundle(), authorities.list(), clock);
  const started = await startListener({
    ...address,
    trustDomain,
    identity: identity.current,
    check: () => check,
    log,
  }).catch(async (error) => {
    await identity.close();
    throw error;
  });
  listener = started;
  const refusals = new LinkRefusals({
    record: (event) => insertEvents(database, [event]),
    counted: (code) => metrics.agentRefusals.inc({ code }),
    clock,
    log,
  });
  addAttestService({
    listener: started,
    trustDomain,
    attestors: [createJoinTokenAttestor(options.joinTokens), ...options.attestors],
    agents,
    directory,
    issue: issueUnder(AGENT, agentTtl(config), options),
    bundle: () => authorities.bundle(),
    refusals,
    clock,
  });
  let bundle = authorities.bundle();
  return {
    address: started.address,
    listener: started,
    changed: async (topic) => {
      if (topic === 'agents') return readAgents();
      if (topic !== 'authorities' && topic !== 'bundle') return;
      if (authorities.bundle() !== bundle) {
        bundle = authorities.bundle();
        check = new PeerCheck(bundle, authorities.list(), clock);
      }
      identity.authoritiesChanged();
    },
    close: async () => {
      await identity.close();
      await started.close();
    },
  };
}

/** What an agent that is away for longer must do is to be attested anew. */
function agentTtl({ agentTtl, issuingCaTtl }: ServerConfig): number {
  return agentTtl ?? Math.min(DEFAULT_AGENT_TTL_SECONDS, issuingCaTtl);
}

/** What issues leaves of one of our own parts. */
export function issueUnder(
  profile: LeafProfile,
  defaultTtlSeconds: number,
  options: Pick<LinkOptions, 'authorities' | 'recorder' | 'clock' | 'config' | 'denials' | 'metrics'>,
): Issue {
  const { authorities, recorder, clock, config, denials, metrics } = options;
  const issue = createIssue({
    profile,
    activeAuthority: () => authorities.active(),
    recorder,
    clock,
    defaultTtlSeconds,
    backdateSeconds: config.notBeforeBackdate,
  });
  return countedIssue(refuseDenied(issue, denials), metrics, profile);
}

/** The root under which an issuing CA signs, DER; undefined for a CA that is not known. */
export function rootOf(authorities: Authorities, issuing: string): Uint8Array | undefined {
  const all = authorities.list();
  const parentId = all.find(({ id }) => id === issuing)?.parentId;
  return all.find(({ id }) => id === parentId)?.certificate;
}
