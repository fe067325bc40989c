import type { Server } from '@grpc/grpc-js';
import type { Attestation } from '../attestation/attestation.ts';
import type { MintJwt } from '../ca/jwt-request.ts';
import type { Clock } from '../clock.ts';
import type { Fleet } from '../delivery/fleet.ts';
import type { Holder } from '../delivery/holdings.ts';
import { JwtSvids } from '../delivery/jwt-svids.ts';
import { observedByBoth } from '../delivery/observer.ts';
import type { Proxies } from '../delivery/proxies.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import type { Logger } from '../log.ts';
import type { Metrics } from '../metrics.ts';
import type { Grant } from '../policy/entry.ts';
import { addWorkloadApi, type WorkloadApi, type WorkloadCall } from '../workload-api/server.ts';

export interface ServeWorkloadApiOptions {
  readonly node: string;
  readonly attestationOf: (call: WorkloadCall) => Attestation;
  /** What the caller's instance holds. Throws `overloaded`, `shutting_down`. */
  readonly holderOf: (attestation: Attestation) => Holder;
  readonly grantsOf: (attestation: Attestation) => readonly Grant[];
  readonly mintJwt: MintJwt;
  readonly bundle: () => TrustBundle;
  readonly fleet: Fleet;
  readonly proxies: Proxies;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** Serves the SPIFFE Workload API to the callers of the agent's socket. */
export function serveWorkloadApi(server: Server, options: ServeWorkloadApiOptions): WorkloadApi {
  const { node, attestationOf, holderOf, grantsOf, fleet, proxies, metrics } = options;
  const tokens = new JwtSvids({
    mint: (grant, attestation, audience) =>
      options.mintJwt({ grant, attestation, audience, node, requester: `agent:${node}` }),
    authorities: () => options.bundle().jwtAuthorities,
    clock: options.clock,
  });
  return addWorkloadApi(server, {
    callerOf: (call) => {
      const attestation = attestationOf(call);
      return {
        holder: holderOf(attestation),
        grants: () => grantsOf(attestation),
        fetchJwt: (grant, audience) => tokens.fetch(grant, attestation, audience),
      };
    },
    observe: (holder, trust) => {
      const shown = proxies.connect('workload-api', holder.instance, () =>
        holder.current().svids.map(({ identity }) => identity),
      );
      // The protocol knows no acknowledgement; and by JWT keys nobody verifies a certificate.
      return trust === 'jwt' ? shown : observedByBoth(fleet.connect(holder, false), shown);
    },
    metrics: {
      streams: (open) => metrics.workloadApiStreams.set(open),
      sent: () => metrics.workloadApiMessages.inc(),
    },
    clock: options.clock,
    log: options.log,
  });
}
