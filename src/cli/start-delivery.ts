import type { Server } from '@grpc/grpc-js';
import { createSvidIssuer } from '../agent/issue-svid.ts';
import type { Attestation } from '../attestation/attestation.ts';
import type { Issue } from '../ca/issue-request.ts';
import type { Clock } from '../clock.ts';
import { Fleet } from '../delivery/fleet.ts';
import { FleetReport, type FleetStore } from '../delivery/fleet-report.ts';
import type { Holder } from '../delivery/holdings.ts';
import type { Superseded } from '../delivery/instance.ts';
import {
  type Attachment,
  Instances,
  type InstancesOptions,
  type IssueFailure,
} from '../delivery/instances.ts';
import { observedByBoth, type StreamObserver } from '../delivery/observer.ts';
import { Proxies } from '../delivery/proxies.ts';
import { errorCodeOf } from '../errors.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Grant } from '../policy/entry.ts';
import { addSecretDiscoveryService, type CallerCall, type SecretDiscovery } from '../sds/server.ts';

export interface DeliveryOptions {
  /** On record with each issuance: the node's name. */
  readonly node: string;
  /** Likewise: who asks for the certificates. */
  readonly requester: string;
  /** Tells the streams of this way from those of another, in lists of proxies; by default nothing. */
  readonly streamIdPrefix?: string;
  readonly issue: Issue;
  /**
   * Throws while nobody can be asked to issue: without their servers all workloads try again and again, and no key is to
   * be made for that. By default somebody can.
   */
  readonly checkIssuer?: () => void;
  readonly grantsOf: (attestation: Attestation) => readonly Grant[];
  readonly bundle: () => TrustBundle;
  /** Whether an instance is known to run no more. */
  readonly hasEnded: (instance: string) => boolean;
  /** Whether leaves of an authority are to be replaced now; by default as they age. */
  readonly isSuperseded?: (authority: string) => Superseded;
  /** Other trust domains' bundles; by default none. */
  readonly federated?: NonNullable<InstancesOptions['federated']>;
  /** Takes what was held before a restart, once. */
  readonly takeKept?: NonNullable<InstancesOptions['takeKept']>;
  /** The instance has ended: nothing that was held before is for it. */
  readonly forgetKept?: (instance: string) => void;
  /** What instances hold has changed. */
  readonly onHeldChange?: () => void;
  /** Where all agents keep what their proxies hold; without one it is known only here. */
  readonly fleet?: FleetStore;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** Where SDS is served, and how its callers are known. */
export interface DiscoveryOptions {
  readonly server: Pick<Server, 'addService'>;
  readonly callerOf: (call: CallerCall) => Holder | Promise<Holder>;
  readonly left?: (call: CallerCall) => void;
  /** Where more is to be learned of a caller than what it says on its stream. */
  readonly watch?: (call: CallerCall, holder: Holder, observer: StreamObserver) => StreamObserver;
}

/** What callers hold, from the request for their certificates to what they said of them, however they are known. */
export interface Delivery {
  readonly instances: Instances;
  readonly proxies: Proxies;
  readonly fleet: Fleet;
  /** A caller's hold on its instance's certificates. Throws `overloaded`, `shutting_down`. */
  attach(attestation: Attestation): Attachment;
  addDiscovery(options: DiscoveryOptions): SecretDiscovery;
  /** Nothing is issued any more. What is left to report is so with {@link report}. */
  close(): void;
  /** Stores what proxies hold, once their streams have ended, in bounded time. */
  report(): Promise<void>;
}

/** How often the wall clock is looked at for renewals. */
const TICK_MS = 250;

/** Starts to look after what callers hold. Rejects when the fleet's store does not tell what was left before. */
export async function startDelivery(options: DeliveryOptions): Promise<Delivery> {
  const { clock, log, metrics } = options;
  const proxies = new Proxies(clock, options.streamIdPrefix);
  const fleet = new Fleet({
    clock,
    heldBy: (instance) => instances.heldBy(instance),
    hasEnded: options.hasEnded,
    onEnded: (instance) => {
      instances.forget(instance);
      options.forgetKept?.(instance);
    },
  });
  const issueSvid = createSvidIssuer(options.issue, options.node, options.requester);
  const instances: Instances = new Instances({
    issue: async (grant, attestation) => {
      options.checkIssuer?.();
      return issueSvid(grant, attestation);
    },
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
  if (options.fleet !== undefined) fleet.restore(await options.fleet.load());
  const report = options.fleet && startReport(fleet, options.fleet, log);
  const timer = setInterval(() => {
    instances.tick();
    fleet.tick();
  }, TICK_MS);
  const unobserve = metrics.observeLeaves(() => {
    const soonest = instances.soonestExpiry();
    return soonest === null ? null : (soonest - clock()) / 1000;
  });
  return {
    instances,
    proxies,
    fleet,
    attach: (attestation) => {
      fleet.admit(attestation.instance);
      return instances.attach(attestation);
    },
    addDiscovery: (discovery) => addDiscovery(discovery, { fleet, proxies, metrics, log }),
    close: () => {
      clearInterval(timer);
      unobserve();
      instances.close();
    },
    report: async () => report?.close(),
  };
}

interface DiscoveryParts {
  readonly fleet: Fleet;
  readonly proxies: Proxies;
  readonly metrics: Metrics;
  readonly log: Logger;
}

function addDiscovery(
  { server, callerOf, left, watch }: DiscoveryOptions,
  { fleet, proxies, metrics, log }: DiscoveryParts,
): SecretDiscovery {
  let counted = 0;
  return addSecretDiscoveryService(server, {
    callerOf,
    ...(left && { left }),
    observe: (protocol, holder, call) => {
      const observer = observedByBoth(
        fleet.connect(holder, true),
        proxies.connect(protocol, holder.instance, () =>
          holder.current().svids.map(({ identity }) => identity),
        ),
      );
      return watch === undefined ? observer : watch(call, holder, observer);
    },
    fetched: (holder, resources) => {
      const call = fleet.connect(holder, false);
      for (const { name, version, expiresAt } of resources) call.sent(name, version, expiresAt);
      call.closed();
    },
    metrics: {
      // There may be several of these services in a process.
      streams: (open) => {
        metrics.sdsStreams.inc(open - counted);
        counted = open;
      },
      pushed: () => metrics.sdsPushes.inc(),
      acknowledged: () => metrics.sdsAcks.inc(),
      rejected: () => metrics.sdsNacks.inc(),
      refusedNames: (count) => metrics.sdsRefusedNames.inc(count),
    },
    log,
  });
}

/** The first failure in a row is worth a line, then each doubling. */
function startReport(fleet: Fleet, store: FleetStore, log: Logger): FleetReport {
  return new FleetReport(fleet, store, (error, failures) => {
    if (Number.isInteger(Math.log2(failures)))
      log.warn({ err: error, failures }, 'what proxies hold could not be stored: a rotation waits for it');
  });
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
