import { Server } from '@grpc/grpc-js';
import { CALLER_LIMITS, type CallerSocket, listenForCallers, SOCKET_MODE } from '../agent/caller-socket.ts';
import { readCerts } from '../agent/envoy-admin.ts';
import { createSvidIssuer } from '../agent/issue-svid.ts';
import { createUnixAttestor } from '../attestation/attest.ts';
import type { Attestation } from '../attestation/attestation.ts';
import type { WorkloadAttestor } from '../attestation/findings.ts';
import { hasEnded } from '../attestation/has-ended.ts';
import type { Peer } from '../attestation/peer-credentials.ts';
import { readBootId } from '../attestation/process.ts';
import type { Issue } from '../ca/issue-request.ts';
import type { MintJwt } from '../ca/jwt-request.ts';
import type { Clock } from '../clock.ts';
import { Fleet } from '../delivery/fleet.ts';
import { FleetReport, type FleetStore } from '../delivery/fleet-report.ts';
import type { Holder, X509Svid } from '../delivery/holdings.ts';
import type { Superseded } from '../delivery/instance.ts';
import {
  type Attachment,
  Instances,
  type InstancesOptions,
  type IssueFailure,
} from '../delivery/instances.ts';
import { Observations } from '../delivery/observations.ts';
import { observedByBoth } from '../delivery/observer.ts';
import { Proxies } from '../delivery/proxies.ts';
import { errorCodeOf } from '../errors.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Grant } from '../policy/entry.ts';
import { SERVER_OPTIONS } from '../sds/limits.ts';
import { addSecretDiscoveryService } from '../sds/server.ts';
import { serveWorkloadApi } from './serve-workload-api.ts';

export interface AgentOptions {
  readonly socket: string;
  /** This node's name on record. */
  readonly node: string;
  readonly issue: Issue;
  readonly mintJwt: MintJwt;
  readonly grantsOf: (attestation: Attestation) => readonly Grant[];
  readonly bundle: () => TrustBundle;
  /** Whether leaves of an authority are to be replaced now; by default as they age. */
  readonly isSuperseded?: (authority: string) => Superseded;
  /** Other trust domains' bundles; by default none. */
  readonly federated?: NonNullable<InstancesOptions['federated']>;
  /** Takes what was held before a restart, once. */
  readonly takeKept?: NonNullable<InstancesOptions['takeKept']>;
  /** What instances hold has changed. */
  readonly onHeldChange?: () => void;
  /** Where all agents keep what their proxies hold; without one it is known only here. */
  readonly fleet?: FleetStore;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Asked about each caller besides the kernel; by default none. */
  readonly platforms?: readonly WorkloadAttestor[];
  /** Who is at the other end of a connection: by default the process that the kernel and /proc tell of. */
  readonly attest?: (peer: Peer) => Promise<Attestation>;
}

/** The node's side: callers on the socket, what they hold, and what they said of it. */
export interface Agent {
  readonly instances: Instances;
  readonly proxies: Proxies;
  /** Streams are told to go, and cut after a second. */
  close(): Promise<void>;
}

/** How often the wall clock is looked at for renewals. */
const TICK_MS = 250;

/**
 * Starts this node's agent: from then on callers on the socket get what the entries grant them. Rejects when the
 * fleet's store does not tell what the agent before this one left.
 */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const { clock, log, metrics } = options;
  const proxies = new Proxies(clock);
  const fleet = await restoreFleet((instance) => instances.heldBy(instance), options);
  const instances: Instances = new Instances({
    issue: createSvidIssuer(options.issue, options.node),
    grantsOf: options.grantsOf,
    bundle: options.bundle,
    clock,
    random: Math.random,
    onIssued: (svid, instance) => {
      fleet.issued(svid, instance);
      options.onHeldChange?.();
      log.debug({ identity: svid.identity, serial: svid.serial, instance }, 'delivered a new leaf');
    },
    onFailed: (failure) => reportFailure(failure, clock(), log, metrics),
    onWithdrawn: (instance) => {
      fleet.withdrew(instance);
      options.onHeldChange?.();
    },
    ...(options.isSuperseded && { isSuperseded: options.isSuperseded }),
    ...(options.federated && { federated: options.federated }),
    ...(options.takeKept && { takeKept: options.takeKept }),
  });
  const report = options.fleet && startReport(fleet, options.fleet, log);
  const attestor = createUnixAttestor({ platforms: options.platforms ?? [] });
  const attachments = new Map<Attestation, Attachment>();
  const pids = new WeakMap<Attestation, number>();
  const observations = new Observations({
    clock,
    look: async ({ pid, address }) => {
      // Loaded for the first Envoy that says where its pages are: its parser is large.
      const { parseCertsPage } = await import('../delivery/certs-page.ts');
      return parseCertsPage(await readCerts(pid, address));
    },
  });
  const server = new Server(SERVER_OPTIONS);
  let callers: CallerSocket | undefined;
  const admit = (attestation: Attestation): Holder => {
    fleet.admit(attestation.instance);
    return holderOf(attestation, instances, attachments);
  };
  const discovery = addSecretDiscoveryService(server, {
    callerOf: (call) => admit(attestationOf(callers, call)),
    observe: (protocol, holder, call) =>
      observations.watch(
        pids.get(attestationOf(callers, call)) ?? 0,
        holder,
        observedByBoth(
          fleet.connect(holder, true),
          proxies.connect(protocol, holder.instance, () =>
            holder.current().svids.map(({ identity }) => identity),
          ),
        ),
      ),
    fetched: (holder, resources) => {
      const call = fleet.connect(holder, false);
      for (const { name, version, expiresAt } of resources) call.sent(name, version, expiresAt);
      call.closed();
    },
    metrics: {
      streams: (open) => metrics.sdsStreams.set(open),
      pushed: () => metrics.sdsPushes.inc(),
      acknowledged: () => metrics.sdsAcks.inc(),
      rejected: () => metrics.sdsNacks.inc(),
      refusedNames: (count) => metrics.sdsRefusedNames.inc(count),
    },
    log,
  });
  const workloadApi = serveWorkloadApi(server, {
    ...options,
    attestationOf: (call) => attestationOf(callers, call),
    holderOf: admit,
    fleet,
    proxies,
  });
  callers = await listenForCallers({
    path: options.socket,
    mode: SOCKET_MODE,
    server,
    attest: async (peer) => {
      try {
        const attestation = await (options.attest ?? attestor.attest)(peer);
        pids.set(attestation, peer.pid);
        return attestation;
      } catch (error) {
        metrics.attestationFailures.inc();
        throw error;
      }
    },
    onClosed: (attestation) => {
      attachments.get(attestation)?.detach();
      attachments.delete(attestation);
    },
    limits: CALLER_LIMITS,
    log,
    clock,
  });
  const timer = setInterval(() => {
    instances.tick();
    fleet.tick();
  }, TICK_MS);
  metrics.beforeScrape(() => {
    const soonest = instances.soonestExpiry();
    // Without a sample nothing is alerted on where nobody is connected; NaN compares as it likes.
    if (soonest === null) metrics.leafExpirySecondsMin.remove();
    else metrics.leafExpirySecondsMin.set((soonest - clock()) / 1000);
  });
  return {
    instances,
    proxies,
    close: async () => {
      clearInterval(timer);
      instances.close();
      discovery.close();
      workloadApi.close();
      observations.close();
      await callers.close();
      server.forceShutdown();
      attestor.close();
      await report?.close();
    },
  };
}

async function restoreFleet(
  heldBy: (instance: string) => readonly X509Svid[],
  options: AgentOptions,
): Promise<Fleet> {
  const bootId = readBootId('/proc');
  const fleet = new Fleet({
    clock: options.clock,
    heldBy,
    hasEnded: (instance) => hasEnded(instance, bootId),
  });
  if (options.fleet !== undefined) fleet.restore(await options.fleet.load());
  return fleet;
}

/** The first failure in a row is worth a line, then each doubling. */
function startReport(fleet: Fleet, store: FleetStore, log: Logger): FleetReport {
  return new FleetReport(fleet, store, (error, failures) => {
    if (Number.isInteger(Math.log2(failures)))
      log.warn({ err: error, failures }, 'what proxies hold could not be stored: a rotation waits for it');
  });
}

function attestationOf(callers: CallerSocket | undefined, call: { getPeer(): string }): Attestation {
  if (callers === undefined) throw new Error('a call came before the socket listened');
  return callers.attestationOf(call);
}

/** All calls on one connection share a hold on their instance's certificates, until the connection closes. */
function holderOf(
  attestation: Attestation,
  instances: Instances,
  attachments: Map<Attestation, Attachment>,
): Holder {
  const attachment = attachments.get(attestation) ?? instances.attach(attestation);
  attachments.set(attestation, attachment);
  return attachment.holder;
}

/** The first failure in a row is worth a line, then each doubling: an outage doesn't flood the log. */
function reportFailure(failure: IssueFailure, now: number, log: Logger, metrics: Metrics): void {
  metrics.leafRenewalFailures.inc();
  const { attempts, expiresAt, error, instance, identity } = failure;
  if (!Number.isInteger(Math.log2(attempts))) return;
  const known = errorCodeOf(error) !== 'internal';
  log[known ? 'warn' : 'error'](
    {
      identity,
      instance,
      attempts,
      secondsLeft: expiresAt === null ? null : Math.round((expiresAt - now) / 1000),
      ...(known ? { code: errorCodeOf(error), reason: (error as Error).message } : { err: error }),
    },
    expiresAt === null ? 'no leaf could be issued' : 'a leaf could not be renewed; the old one serves',
  );
}
