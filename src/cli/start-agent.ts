import { Server } from '@grpc/grpc-js';
import { CALLER_LIMITS, type CallerSocket, listenForCallers, SOCKET_MODE } from '../agent/caller-socket.ts';
import { readCerts } from '../agent/envoy-admin.ts';
import { createUnixAttestor } from '../attestation/attest.ts';
import type { Attestation } from '../attestation/attestation.ts';
import type { WorkloadAttestor } from '../attestation/findings.ts';
import { createHasEnded } from '../attestation/has-ended.ts';
import type { Peer } from '../attestation/peer-credentials.ts';
import type { MintJwt } from '../ca/jwt-request.ts';
import type { Holder } from '../delivery/holdings.ts';
import type { Attachment, Instances } from '../delivery/instances.ts';
import { Observations } from '../delivery/observations.ts';
import type { Proxies } from '../delivery/proxies.ts';
import { SERVER_OPTIONS } from '../sds/limits.ts';
import { serveWorkloadApi } from './serve-workload-api.ts';
import { type Delivery, type DeliveryOptions, startDelivery } from './start-delivery.ts';

export interface AgentOptions extends Omit<DeliveryOptions, 'requester' | 'hasEnded'> {
  readonly socket: string;
  readonly mintJwt: MintJwt;
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

/**
 * Starts this node's agent: from then on callers on the socket get what the entries grant them. Rejects when the
 * fleet's store does not tell what the agent before this one left.
 */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const { clock, log, metrics } = options;
  const delivery = await startDelivery({
    ...options,
    requester: `agent:${options.node}`,
    hasEnded: createHasEnded(),
  });
  const { instances, proxies, fleet } = delivery;
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
  const admit = (attestation: Attestation): Holder => holderOf(attestation, delivery, attachments);
  const discovery = delivery.addDiscovery({
    server,
    callerOf: (call) => admit(attestationOf(callers, call)),
    watch: (call, holder, observer) =>
      observations.watch(pids.get(attestationOf(callers, call)) ?? 0, holder, observer),
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
  }).catch((error: unknown) => {
    delivery.close();
    throw error;
  });
  return {
    instances,
    proxies,
    close: async () => {
      delivery.close();
      discovery.close();
      workloadApi.close();
      observations.close();
      await callers.close();
      server.forceShutdown();
      attestor.close();
      await delivery.report();
    },
  };
}

function attestationOf(callers: CallerSocket | undefined, call: { getPeer(): string }): Attestation {
  if (callers === undefined) throw new Error('a call came before the socket listened');
  return callers.attestationOf(call);
}

/** All calls on one connection share a hold on their instance's certificates, until the connection closes. */
function holderOf(
  attestation: Attestation,
  delivery: Delivery,
  attachments: Map<Attestation, Attachment>,
): Holder {
  const attachment = attachments.get(attestation) ?? delivery.attach(attestation);
  attachments.set(attestation, attachment);
  return attachment.holder;
}
