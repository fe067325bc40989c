import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { AgentCache } from '../agent/cache/agent-cache.ts';
import { KeptSvids } from '../agent/cache/kept-svids.ts';
import { AgentLink, type LinkEvent } from '../agent/link/agent-link.ts';
import { FleetOnLink } from '../agent/link/fleet-on-link.ts';
import { joinTokenAttestor } from '../agent/link/join-token.ts';
import type { NodeAttestor } from '../agent/link/node-attestor.ts';
import { tokenFileAttestor } from '../agent/link/token-file.ts';
import { x509popAttestor } from '../agent/link/x509pop.ts';
import { type AgentConfig, socketOf } from '../agent-config.ts';
import type { Readiness } from '../api/health.ts';
import { type HttpServer, serveHttp } from '../api/http-server.ts';
import { createHasEnded } from '../attestation/has-ended.ts';
import { parseKeyEncryptionKey, readKeyEncryptionKey } from '../ca/key-encryption-key.ts';
import type { Clock } from '../clock.ts';
import { openDataDir } from '../db/data-dir.ts';
import { CarnetError } from '../errors.ts';
import type { Health } from '../gen/carnet/agent/v1/agent.ts';
import type { Logger } from '../log.ts';
import { createMetrics, type Metrics } from '../metrics.ts';
import { denialOf } from '../revocation/denial.ts';
import { readSecretFile } from '../secret-file.ts';
import { formatAddress } from '../setting-values.ts';
import { parseCertificate } from '../x509/certificate.ts';
import { decodePem } from '../x509/pem.ts';
import { agentHealthHandler } from './agent-health.ts';
import { observeLink } from './agent-metrics.ts';
import { type Agent, type AgentOptions, startAgent } from './start-agent.ts';
import { openPlatforms } from './workload-platforms.ts';

export interface RunningNodeAgent {
  /** The name that the servers gave this node. */
  readonly node: string;
  readonly socket: string;
  /** Of health and metrics; null where they are off. */
  readonly url: string | null;
  /** Stops everything in order and in bounded time. */
  close(): Promise<void>;
}

export interface StartNodeAgentOptions {
  readonly config: AgentConfig;
  /** The cache's key where the environment has it. */
  readonly cacheKeyText: string | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  /** Gives the start up. */
  readonly signal: AbortSignal;
  /** By default its own. */
  readonly attest?: NonNullable<AgentOptions['attest']>;
}

const VERSION = '0.1.0';
const HTTP_GRACE_MS = 1_000;
/** With a cache, how long the servers' own word is waited for: what was revoked meanwhile should not be served. */
const FIRST_WORD_MS = 2_000;

/**
 * Starts an agent of servers elsewhere, and resolves when workloads are served: by what the servers told, or with them
 * away by a cache. Throws `attestation_failed`, `config_invalid`, `key_unseal_failed`, `data_dir_in_use`.
 */
export async function startNodeAgent(options: StartNodeAgentOptions): Promise<RunningNodeAgent> {
  const { config, clock, log, signal } = options;
  await using stack = new AsyncDisposableStack();
  const metrics = createMetrics();
  const { platforms } = stack.use(await openPlatforms(config, log));
  const cache = await openCache(options, stack);
  const kept = (await cache?.read()) ?? null;
  const hasEnded = createHasEnded();
  const svids = (kept?.svids ?? []).filter(({ instance }) => !hasEnded(instance));
  const keptSvids = new KeptSvids(svids, clock);

  let agent: Agent | null = null;
  const health = (): Health => healthOf(agent, keptSvids);
  const link = new AgentLink({
    servers: config.serverAddr,
    trustDomain: config.trustDomain,
    attestor: attestorOf(config),
    readTrustBundle: config.trustBundle === null ? null : () => readRoots(config.trustBundle ?? ''),
    version: VERSION,
    health,
    kept: kept?.link ?? null,
    ...(cache && { settle: () => cache.flush() }),
    clock,
    random: Math.random,
    log,
  });
  stack.defer(() => link.close());
  const readiness = (): Readiness => readinessOf(link, agent, clock());
  observeLink(metrics, link);
  const http = await listenHttp(config, readiness, metrics, log);
  if (http !== null) stack.defer(() => http.close(HTTP_GRACE_MS));

  link.start();
  await untilInformed(link, kept !== null, signal);
  const socket = socketOf(config);
  const fleet = new FleetOnLink(link, socket, kept === null ? null : { fleet: kept.fleet, svids });
  const running = await startAgent({
    socket,
    platforms,
    node: link.identity().node,
    issue: (request) => link.issue(request),
    checkIssuer: () => link.checkConnected(),
    mintJwt: (request) => link.mintJwt(request),
    grantsOf: ({ selectors, instance }) => {
      const { index, denials } = link.held();
      const { node, selectors: nodeSelectors } = link.identity();
      return index
        .authorize([...selectors, ...nodeSelectors])
        .filter(({ spiffeId }) => denialOf(denials, { identity: spiffeId, instance, node }) === undefined);
    },
    bundle: () => link.held().bundle,
    federated: () => link.held().federated,
    isSuperseded: (authority) => {
      const { wave, urgent } = link.held();
      if (urgent.has(authority)) return 'urgent';
      return wave.has(authority) ? 'wave' : 'no';
    },
    takeKept: (instance, grant) => keptSvids.take(instance, grant),
    forgetKept: (instance) => keptSvids.forget(instance),
    onHeldChange: () => cache?.changed(),
    fleet,
    clock,
    log,
    metrics,
    ...(options.attest && { attest: options.attest }),
  });
  agent = running;
  stack.defer(() => running.close());
  await cache?.keep(() => ({
    link: { identity: link.identity(), held: link.held() },
    svids: [...running.instances.held(), ...keptSvids.waiting()],
    fleet: fleet.records(),
  }));
  const react: Record<LinkEvent, () => void> = {
    entries: () => running.instances.entriesChanged(),
    bundle: () => running.instances.bundleChanged(),
    federated: () => running.instances.bundleChanged(),
    connected: () => running.instances.retryFailed(),
    kept: () => cache?.changed(),
  };
  link.listen((event) => react[event]());

  const owned = stack.move();
  return {
    node: link.identity().node,
    socket,
    url: http?.url ?? null,
    close: () => owned.disposeAsync(),
  };
}

function attestorOf(config: AgentConfig): NodeAttestor {
  const { attestMethod, joinToken, joinTokenFile } = config;
  switch (attestMethod) {
    case 'join_token':
      return joinTokenFile === null
        ? joinTokenAttestor(async () => joinToken ?? '', '--join-token-file')
        : joinTokenAttestor(() => readSecretFile(joinTokenFile), joinTokenFile);
    case 'x509pop':
      return x509popAttestor(config.x509popCertFile ?? '', config.x509popKeyFile ?? '', config.trustDomain);
    case 'k8s_psat':
      return tokenFileAttestor('k8s_psat', config.serviceAccountTokenFile);
    case 'oidc':
      return tokenFileAttestor('oidc', config.oidcTokenFile ?? '');
  }
}

/** The cache that `--cache` asks for, in a data directory that no other process works in. */
async function openCache(
  { config, cacheKeyText, log }: StartNodeAgentOptions,
  stack: AsyncDisposableStack,
): Promise<AgentCache | null> {
  const { cacheKeyFile, trustDomain } = config;
  // Nothing is written by an agent that needs no directory.
  if (!config.cache && config.agentSocket !== null) return null;
  const dataDir = openDataDir(config.dataDir);
  stack.defer(() => dataDir.close());
  if (!config.cache) return null;
  if (cacheKeyText === undefined && cacheKeyFile === null)
    throw new CarnetError('config_invalid', '--cache needs a key: give --cache-key-file or CARNET_CACHE_KEY');
  const key =
    cacheKeyText === undefined
      ? await readKeyEncryptionKey(cacheKeyFile ?? '')
      : parseKeyEncryptionKey(cacheKeyText);
  const cache = new AgentCache({ path: join(dataDir.path, 'agent-cache'), key, trustDomain, log });
  stack.defer(() => cache.close());
  return cache;
}

async function readRoots(path: string): Promise<Uint8Array[]> {
  const roots = decodePem('CERTIFICATE', await readSecretFile(path));
  for (const root of roots) parseCertificate(root);
  return roots;
}

async function untilInformed(link: AgentLink, hasCache: boolean, signal: AbortSignal): Promise<void> {
  const aborted = new Promise<never>((_, reject) =>
    signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
  );
  await Promise.race([link.informed(), aborted]);
  if (!hasCache) return;
  const connected = new Promise<void>((resolve) =>
    link.listen((event) => {
      if (event === 'connected') resolve();
    }),
  );
  if (!link.status().connected) await Promise.race([connected, sleep(FIRST_WORD_MS), aborted]);
}

function healthOf(agent: Agent | null, kept: KeptSvids): Health {
  const stats = agent?.instances.stats() ?? { instances: 0, certificates: 0, failing: 0 };
  const ends = kept.waiting().map(({ svid }) => svid.notAfter.getTime());
  const held = agent?.instances.soonestExpiry() ?? null;
  if (held !== null) ends.push(held);
  return { ...stats, soonestEndMs: ends.length === 0 ? 0 : Math.min(...ends) };
}

function readinessOf(link: AgentLink, agent: Agent | null, now: number): Readiness {
  const { connected, problem } = link.status();
  const serves = agent !== null;
  const checks = [
    {
      name: 'serving',
      ok: serves,
      detail: serves ? 'workloads are served' : `nothing was told by a server yet: ${problem}`,
    },
    {
      name: 'link',
      // Away is no reason to be taken for dead: what was issued is served.
      ok: connected || serves,
      detail: connected ? 'connected to a server' : `served is what is held; no server: ${problem}`,
    },
  ];
  if (serves) checks.push(identityCheck(link, now));
  return { ready: checks.every(({ ok }) => ok), checks };
}

function identityCheck(link: AgentLink, now: number) {
  const { node, notAfter } = link.identity();
  const until = new Date(notAfter).toISOString();
  const detail =
    notAfter > now ? `${node}, until ${until}` : `its certificate ended at ${until}: see the log`;
  return { name: 'identity', ok: true, detail };
}

async function listenHttp(
  { httpAddr }: AgentConfig,
  readiness: () => Readiness,
  metrics: Metrics,
  log: Logger,
): Promise<HttpServer | null> {
  if (httpAddr === null) return null;
  const handler = agentHealthHandler({ readiness, metrics, host: httpAddr.host, log });
  try {
    return await serveHttp({ callback: () => handler }, httpAddr, log);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    throw new CarnetError(
      'config_invalid',
      `--http-addr ${formatAddress(httpAddr)} can't be had: ${code}; give another`,
      { cause },
    );
  }
}
