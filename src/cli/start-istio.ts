import type { Listener } from '../agent/server/listener.ts';
import { boundByReview } from '../attestation/node/bound-token.ts';
import type { Issue } from '../ca/issue-request.ts';
import type { Clock } from '../clock.ts';
import type { ServerConfig } from '../config.ts';
import { noteHandedOut } from '../db/consumers.ts';
import type { Database } from '../db/database.ts';
import type { TrustBundle } from '../identity/trust-bundle.ts';
import type { CertificateAuthorityOptions } from '../istio/create-certificate.ts';
import { addIstioCertificateService } from '../istio/server.ts';
import { Shares } from '../istio/shares.ts';
import { openAccess } from '../kubernetes/access.ts';
import { KubernetesClient } from '../kubernetes/client.ts';
import { createTokenBearers } from '../kubernetes/token-bearers.ts';
import { createTokenReview } from '../kubernetes/token-review.ts';
import type { Logger } from '../log.ts';

export interface IstioOptions {
  readonly config: ServerConfig;
  readonly database: Database;
  readonly listener: Listener;
  readonly grantsOf: CertificateAuthorityOptions['grantsOf'];
  readonly issue: Issue;
  readonly bundle: () => TrustBundle;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Ours: each asks the API server two or three questions. */
const MAX_CALLS = 256;
/** Under which name its clients are counted as consumers. */
const AGENT = 'istio';

/**
 * Serves Istio's certificate service on `--grpc-addr`. Null without `--istio`. Throws `config_invalid` where the
 * cluster's access can't be read.
 */
export function startIstio({
  config,
  database,
  listener,
  clock,
  ...options
}: IstioOptions): Disposable | null {
  const { istio, kubernetes, istioAudience, trustDomain } = config;
  if (!istio || kubernetes === null) return null;
  const client = new KubernetesClient(openAccess(kubernetes, process.env), Math.random);
  const review = createTokenReview(client);
  addIstioCertificateService(listener, {
    ...options,
    ...createTokenBearers(client, async (token) =>
      boundByReview(await review(token, istioAudience), istioAudience),
    ),
    handOut: ({ identity, notAfter }, { sequence }, holder) =>
      noteHandedOut(database, AGENT, { ...holder, identity, sequence, notAfter }),
    trustDomain,
    nodeAgents: new Set(config.istioNodeAgents),
    shares: new Shares(clock),
    defaultTtlSeconds: config.leafTtl,
    maxCalls: MAX_CALLS,
    addressOf: (call) => listener.addressOf(call),
    vouchFor: (call) => listener.vouchFor(call),
  });
  return { [Symbol.dispose]: () => client.close() };
}
