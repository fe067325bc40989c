import { endOfToken } from '../agent/server/jwt-end.ts';
import type { Listener } from '../agent/server/listener.ts';
import { RemoteCallers } from '../agent/server/remote-callers.ts';
import { type RemoteWorkload, SvidCallers } from '../agent/server/svid-callers.ts';
import { TokenCallers } from '../agent/server/token-callers.ts';
import type { Attestation } from '../attestation/attestation.ts';
import { boundByReview } from '../attestation/node/bound-token.ts';
import type { ServerConfig } from '../config.ts';
import type { Database } from '../db/database.ts';
import { findIssuedTo } from '../db/issuances.ts';
import type { Instances } from '../delivery/instances.ts';
import type { Proxies } from '../delivery/proxies.ts';
import { openAccess } from '../kubernetes/access.ts';
import { KubernetesClient } from '../kubernetes/client.ts';
import { createTokenBearers } from '../kubernetes/token-bearers.ts';
import { createTokenReview } from '../kubernetes/token-review.ts';
import type { Grant } from '../policy/entry.ts';
import { type DeliveryOptions, startDelivery } from './start-delivery.ts';

export interface SdsOptions
  extends Omit<DeliveryOptions, 'grantsOf' | 'requester' | 'hasEnded' | 'streamIdPrefix'> {
  readonly config: ServerConfig;
  readonly database: Database;
  readonly listener: Listener;
  /** By entries and denials; `node` is where the caller runs, or where its certificate was issued. */
  readonly grantsOf: (attestation: Attestation, node: string) => readonly Grant[];
}

/** SDS for proxies without an agent. */
export interface RemoteSds {
  readonly instances: Instances;
  readonly proxies: Proxies;
  /** Streams are told to go, and what proxies hold is stored. */
  close(): Promise<void>;
}

/** How soon a stream ends after that by which its caller was let in. */
const CHECK_MS = 1000;

/**
 * Serves SDS on `--grpc-addr`. Null without `--sds-on-grpc`. Throws `config_invalid` where the cluster's access can't
 * be read; rejects when the fleet's store does not tell what was left before.
 */
export async function startSds({
  config,
  database,
  listener,
  ...options
}: SdsOptions): Promise<RemoteSds | null> {
  if (!config.sdsOnGrpc) return null;
  const { clock, metrics, node } = options;
  const kubernetes = config.kubernetes === null ? null : clientOf(config.kubernetes);
  const nodes = new WeakMap<Attestation, string>();
  const delivery = await startDelivery({
    ...options,
    requester: `sds:${node}`,
    streamIdPrefix: 'grpc-',
    grantsOf: (attestation) => options.grantsOf(attestation, nodes.get(attestation) ?? node),
    // Theirs are other machines: what ends there is known by its certificate's end.
    hasEnded: () => false,
  });
  const callers = new RemoteCallers({
    connections: listener,
    svids: new SvidCallers((serial) => findIssuedTo(database, serial)),
    tokens:
      kubernetes &&
      new TokenCallers({
        endOf: (token) => endOfToken(token, clock()),
        authenticate: authenticatorOf(kubernetes, config.sdsAudience),
        clock,
      }),
    attach: (workload) => {
      if (workload.node !== null) nodes.set(workload.attestation, workload.node);
      return delivery.attach(workload.attestation);
    },
    clock,
  });
  const discovery = delivery.addDiscovery({
    server: listener,
    callerOf: async (call) => {
      try {
        return await callers.holderOf(call);
      } catch (error) {
        metrics.attestationFailures.inc();
        throw error;
      }
    },
    left: (call) => callers.left(call),
  });
  const timer = setInterval(() => discovery.recheck((call) => callers.check(call)), CHECK_MS);
  return {
    instances: delivery.instances,
    proxies: delivery.proxies,
    close: async () => {
      clearInterval(timer);
      delivery.close();
      discovery.close();
      kubernetes?.close();
      // At once: another replica, to which its proxies go now, takes up what is stored.
      await delivery.report();
    },
  };
}

function clientOf(where: string): KubernetesClient {
  return new KubernetesClient(openAccess(where, process.env), Math.random);
}

function authenticatorOf(
  client: KubernetesClient,
  audience: string,
): (token: string) => Promise<RemoteWorkload> {
  const review = createTokenReview(client);
  return createTokenBearers(client, async (token) => boundByReview(await review(token, audience), audience))
    .authenticate;
}
