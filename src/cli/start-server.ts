import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { nodeSelectorsOf } from '../agent/server/agent-gate.ts';
import { createApi } from '../api/create-api.ts';
import type { Readiness } from '../api/health.ts';
import { type HttpServer, serveHttp } from '../api/http-server.ts';
import { isLoopback } from '../api/local-host.ts';
import type { Attestation } from '../attestation/attestation.ts';
import type { TokenUses } from '../attestation/node/token-uses.ts';
import { BatchRecorder, RECORDER_LIMITS } from '../audit/record.ts';
import { RecordingWatch } from '../audit/watch-recording.ts';
import { createIssue } from '../ca/issue.ts';
import type { KeyStore } from '../ca/key-store.ts';
import { createMintJwt } from '../ca/mint-jwt.ts';
import { JWT_SVID } from '../ca/profile.ts';
import type { Clock } from '../clock.ts';
import type { ServerConfig } from '../config.ts';
import { PostgresAgentStore } from '../db/agents.ts';
import { PostgresAuthorityStore } from '../db/authorities.ts';
import { PostgresFleetStore } from '../db/consumers.ts';
import { openDataDir } from '../db/data-dir.ts';
import { Database } from '../db/database.ts';
import { startEmbeddedPostgres } from '../db/embedded.ts';
import { PostgresEntryStore } from '../db/entries.ts';
import { PostgresIssuanceQuery } from '../db/issuance-query.ts';
import { insertIssuances } from '../db/issuances.ts';
import { PostgresJoinTokenStore } from '../db/join-tokens.ts';
import { Listener, type Topic } from '../db/listen.ts';
import { migrate } from '../db/migrate.ts';
import { ensurePartitions } from '../db/partitions.ts';
import { DatabaseProbe } from '../db/probe.ts';
import { findCrl, listDenials } from '../db/revocations.ts';
import { freeServerNode, keepServerNode } from '../db/server-nodes.ts';
import { PostgresTokenUses } from '../db/token-uses.ts';
import { PostgresTokenStore } from '../db/tokens.ts';
import { CarnetError, isRetryable } from '../errors.ts';
import { HELD_REFRESHES } from '../federation/refresh-time.ts';
import type { Logger } from '../log.ts';
import { createMetrics, type Metrics } from '../metrics.ts';
import type { Grant } from '../policy/entry.ts';
import { EntryIndex } from '../policy/entry-index.ts';
import { type Denial, denialOf } from '../revocation/denial.ts';
import { liftDenial, revoke } from '../revocation/revoke.ts';
import { type ApplyOptions, applyPlan, readSituation } from '../rotation/apply.ts';
import { Authorities } from '../rotation/authorities.ts';
import { requestStep, startOrResume } from '../rotation/operate.ts';
import { pictureOf } from '../rotation/picture.ts';
import { importUpstream, requestUpstream } from '../rotation/upstream.ts';
import { type Address, formatAddress } from '../setting-values.ts';
import { confirmByCluster } from './confirm-by-cluster.ts';
import { prepareFirstStart } from './first-start.ts';
import { countedIssue } from './measure.ts';
import { openNodeAttestors } from './node-attestors.ts';
import { openKeyStore } from './open-key-store.ts';
import { refuseDenied } from './refuse-denied.ts';
import { Reloads } from './reloads.ts';
import { scheduleUpkeep } from './schedule.ts';
import { type Agent, type AgentOptions, startAgent } from './start-agent.ts';
import { type OwnEndpoint, openFederation, startBundleEndpoint } from './start-federation.ts';
import { startIstio } from './start-istio.ts';
import { type KubernetesPart, startKubernetes } from './start-kubernetes.ts';
import { type Link, startLink } from './start-link.ts';
import { type RemoteSds, startSds } from './start-sds.ts';
import { openPlatforms } from './workload-platforms.ts';

export interface RunningServer {
  /** Of the REST API. */
  readonly url: string;
  /** Where other nodes' agents connect; null with `--grpc-addr off`. */
  readonly grpcAddress: Address | null;
  /** Null with `--no-agent`. */
  readonly agentSocket: string | null;
  /** Trusted now, DER. */
  readonly roots: readonly Uint8Array[];
  /** Stops everything in order and in bounded time. */
  close(): Promise<void>;
}

export interface StartOptions {
  readonly config: ServerConfig;
  /** The key-encryption key's text where the environment has it. */
  readonly keyEncryptionKeyText: string | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  /** Gives the start up. */
  readonly signal: AbortSignal;
  /** Of the node's agent: by default its own. */
  readonly attest?: NonNullable<AgentOptions['attest']>;
}

const HTTP_GRACE_MS = 2_000;
const RETRY_MIN_MS = 250;
const RETRY_MAX_MS = 10_000;
/** Records go on one connection at a time; the rest serves questions and changes. */
const CONNECTIONS = 10;
/** The probe has a connection of its own: readiness must not wait for one, nor as long as a statement may take. */
const PROBE_TIMEOUT_MS = 2_000;

/**
 * Starts a server and its node's agent, and resolves once both serve. A database that is away is waited for,
 * with health and readiness already answering. Throws `config_invalid`, `data_dir_in_use`, `key_unseal_failed`.
 */
export async function startServer(options: StartOptions): Promise<RunningServer> {
  const { config, clock, log } = options;
  await using stack = new AsyncDisposableStack();
  const metrics = createMetrics();
  // Asked once there are agents, and so a database.
  const tokenUses: TokenUses = {
    isFirst: (sha256, until) => new PostgresTokenUses(database).isFirst(sha256, until),
  };
  const { attestors } = stack.use(openNodeAttestors(config, tokenUses, clock));
  const dataDir = openDataDir(config.dataDir);
  stack.defer(() => dataDir.close());
  const keys = await openKeyStore(config, options.keyEncryptionKeyText, log);
  stack.defer(() => keys.close());
  const embedded =
    config.databaseUrl === null
      ? await startEmbeddedPostgres({ dataDir, log, signal: options.signal })
      : null;
  if (embedded !== null) stack.defer(() => embedded.stop());
  const url = config.databaseUrl ?? embedded?.url ?? '';
  const database = new Database({ url, name: 'server', maxConnections: CONNECTIONS, log });
  stack.defer(() => database.close());

  const entries = new PostgresEntryStore(database);
  const tokens = new PostgresTokenStore(database);
  const joinTokens = new PostgresJoinTokenStore(database);
  const agents = new PostgresAgentStore(database);
  const store = new PostgresAuthorityStore(database);
  const authorities = new Authorities(store, keys, config.trustDomain);
  const apply: ApplyOptions = {
    store,
    keys,
    trustDomain: config.trustDomain,
    schedule: {
      rootTtlMs: config.rootCaTtl * 1000,
      issuingTtlMs: config.issuingCaTtl * 1000,
      rootShare: config.rootRotation === 'auto' ? 2 / 3 : null,
      issuingShare: config.issuingCaRotation === 'auto' ? 1 / 2 : null,
      holdSeconds: config.rotationHold,
      jwtKeyTtlMs: config.jwtKeyTtl * 1000,
      jwtShare: config.jwtKeyRotation === 'auto' ? 1 / 2 : null,
      jwtHoldSeconds: jwtHoldOf(config),
    },
    rootKeyType: config.rootKeyType,
    issuingKeyType: config.issuingKeyType,
    jwtKeyType: config.jwtKeyType,
    backdateSeconds: config.notBeforeBackdate,
    publicUrl: config.publicUrl,
    clock,
  };

  const probed = new Database({
    url,
    name: 'probe',
    maxConnections: 1,
    statementTimeoutMs: PROBE_TIMEOUT_MS,
    log,
  });
  stack.defer(() => probed.close());
  const probe = new DatabaseProbe(probed, (up, problem) => {
    if (up) log.info('the database answers again');
    else
      log.error(
        { problem },
        'the database does not answer: nothing is issued; what was delivered keeps working',
      );
  });
  stack.defer(() => probe.close());
  const recording = new RecordingWatch(
    (batch) => insertIssuances(database, batch),
    () => performance.now(),
  );
  const federation = openFederation({ config, database, authorities, clock, log, metrics });
  let agent: Agent | null = null;
  let sds: RemoteSds | null = null;
  const deliveries = (): readonly Pick<Agent, 'instances' | 'proxies'>[] => [agent ?? [], sds ?? []].flat();
  let started = false;
  const readiness = (): Readiness => readinessOf(started, { probe, recording, authorities, keys });
  const http = await listenHttp(config, log, {
    entries,
    tokens,
    joinTokens,
    agents,
    issuances: new PostgresIssuanceQuery(database),
    authorities: store,
    rotations: {
      pictures: () => store.transact(async (tx) => pictureOf(clock(), await readSituation(tx))),
      startOrResume: (request) => startOrResume(apply, request),
      requestStep: (request) => requestStep(apply, request),
    },
    upstream: {
      request: (actor) => requestUpstream(apply, actor),
      import: (request) => importUpstream(apply, request),
    },
    revocations: {
      revoke: (request) => revoke(apply, request),
      lift: (id, actor) => liftDenial(apply, id, actor),
      denials: () => listDenials(database),
      crl: (authorityId) => findCrl(database, authorityId),
    },
    federation: federation.control,
    proxies: () => deliveries().flatMap(({ proxies }) => proxies.list()),
    bundle: () => (authorities.list().length === 0 ? undefined : authorities.bundle()),
    jwtKeys: () => store.jwtKeys(),
    jwtIssuer: config.jwtIssuer,
    readiness,
    metrics,
    clock,
  });
  stack.defer(() => http.close(HTTP_GRACE_MS));

  let index = new EntryIndex([]);
  let denials: readonly Denial[] = [];
  await untilDatabaseAnswers(log, options.signal, async () => {
    await migrate({ url, ownerUrl: config.databaseOwnerUrl, log });
    await ensurePartitions(database);
    // Before anything is changed: whether this database is ours.
    await authorities.refresh();
    for (const step of await applyPlan(apply, 'server:start'))
      log.info({ step: step.kind, why: step.why }, 'authorities changed');
    await authorities.refresh();
    await prepareFirstStart(dataDir.path, config.trustDomain, tokens, entries);
    index = new EntryIndex(await entries.list());
    denials = await listDenials(database);
    await federation.federations.refresh();
  });
  options.signal.throwIfAborted();

  let kubernetes: KubernetesPart | null = null;
  let link: Link | null = null;
  let endpoint: OwnEndpoint | null = null;
  authorities.onBundleChange(() => {
    for (const { instances } of deliveries()) instances.bundleChanged();
    kubernetes?.bundleChanged();
  });
  federation.federations.onBundleChange(() => {
    for (const { instances } of deliveries()) instances.bundleChanged();
  });
  const read = async (topic: Topic): Promise<void> => {
    if (topic === 'entries' || topic === 'denials') {
      if (topic === 'entries') index = new EntryIndex(await entries.list());
      else denials = await listDenials(database);
      for (const { instances } of deliveries()) instances.entriesChanged();
    } else if (topic === 'federation') await federation.federations.refresh();
    else if (topic !== 'agents') {
      await authorities.refresh();
      endpoint?.authoritiesChanged();
    }
    await link?.changed(topic);
  };
  const reloads = stack.use(
    new Reloads({
      read,
      onFailed: (topic, error) =>
        log.warn({ topic, err: error }, 'a change could not be read; it will be tried again'),
    }),
  );
  const recorder = new BatchRecorder(recording.insert, RECORDER_LIMITS, () => performance.now());
  stack.defer(() => recorder.close());
  observe(metrics, { probe, recording, authorities, keys }, recorder);
  stack.use(
    scheduleUpkeep({
      apply,
      authorities,
      database,
      log,
      ownNode: config.noAgent ? null : (config.nodeName ?? hostname()),
      rotationSchedules: {
        root: config.rootRotation,
        issuing: config.issuingCaRotation,
        jwt: config.jwtKeyRotation,
      },
    }),
  );
  await (config.noAgent ? freeServerNode : keepServerNode)(database, config.nodeName ?? hostname());
  const issue = createIssue({
    activeAuthority: () => authorities.active(),
    recorder,
    clock,
    defaultTtlSeconds: config.leafTtl,
    backdateSeconds: config.notBeforeBackdate,
    publicUrl: config.publicUrl,
  });
  endpoint = await startBundleEndpoint({
    config,
    database,
    authorities,
    recorder,
    denials: () => denials,
    clock,
    log,
    metrics,
  });
  if (endpoint !== null) stack.use(endpoint);
  stack.use(federation.start());
  const mintJwt = countedIssue(
    refuseDenied(
      createMintJwt({
        activeKey: () => authorities.activeJwtKey(),
        recorder,
        clock,
        ttlSeconds: config.jwtTtl,
        issuer: config.jwtIssuer,
      }),
      () => denials,
    ),
    metrics,
    JWT_SVID,
  );
  const issueSvid = countedIssue(
    refuseDenied(issue, () => denials),
    metrics,
  );
  const grantsOf = ({ selectors, instance }: Attestation, node: string): readonly Grant[] =>
    index
      .authorize(selectors)
      .filter(({ spiffeId }) => denialOf(denials, { identity: spiffeId, instance, node }) === undefined);
  const node = config.nodeName ?? hostname();
  if (config.grpcAddr !== null) {
    const confirmation = confirmByCluster(config, { log, metrics });
    if (confirmation !== null) stack.use(confirmation);
    const startedLink = await startLink(
      {
        config,
        database,
        joinTokens,
        agents,
        attestors,
        confirm: confirmation?.confirm ?? null,
        authorities,
        recorder,
        index: () => index,
        denials: () => denials,
        federated: () => federation.federations.bundles(),
        issue: issueSvid,
        mintJwt,
        clock,
        log,
        metrics,
      },
      config.grpcAddr,
    );
    link = startedLink;
    stack.defer(() => startedLink.close());
    const istio = startIstio({
      config,
      database,
      listener: startedLink.listener,
      grantsOf,
      issue: issueSvid,
      bundle: () => authorities.bundle(),
      clock,
      log,
    });
    if (istio !== null) stack.use(istio);
    const startedSds = await startSds({
      config,
      database,
      listener: startedLink.listener,
      node,
      issue: issueSvid,
      grantsOf,
      bundle: () => authorities.bundle(),
      federated: () => federation.federations.bundles(),
      isSuperseded: (authority) => authorities.isSuperseded(authority),
      fleet: new PostgresFleetStore(database, node, `grpc ${formatAddress(config.grpcAddr)}`),
      clock,
      log,
      metrics,
    });
    sds = startedSds;
    if (startedSds !== null) stack.defer(() => startedSds.close());
  }
  if (!config.noAgent) {
    const socket = agentSocketOf(config, dataDir.path);
    const runningAgent = await startAgent({
      socket,
      node,
      issue: issueSvid,
      mintJwt,
      grantsOf: ({ selectors, ...rest }) =>
        grantsOf({ ...rest, selectors: [...selectors, ...nodeSelectorsOf(node, [])] }, node),
      bundle: () => authorities.bundle(),
      federated: () => federation.federations.bundles(),
      isSuperseded: (authority) => authorities.isSuperseded(authority),
      fleet: new PostgresFleetStore(database, node, socket),
      platforms: stack.use(await openPlatforms(config, log)).platforms,
      clock,
      log,
      metrics,
      ...(options.attest && { attest: options.attest }),
    });
    agent = runningAgent;
    stack.defer(() => runningAgent.close());
  }
  kubernetes = startKubernetes({
    config,
    database,
    entries,
    authorize: (selectors) => index.authorize(selectors),
    issue: countedIssue(
      refuseDenied(issue, () => denials),
      metrics,
    ),
    bundle: () => authorities.bundle(),
    clock,
    log,
    metrics,
  });
  if (kubernetes !== null) stack.use(kubernetes);
  const listener = new Listener({
    url,
    log,
    random: Math.random,
    wake: (topic) => reloads.wake(topic),
  });
  stack.defer(() => listener.close());

  started = true;
  const owned = stack.move();
  return {
    url: http.url,
    grpcAddress: link?.address ?? null,
    agentSocket: config.noAgent ? null : agentSocketOf(config, dataDir.path),
    roots: authorities.bundle().x509Authorities,
    close: () => owned.disposeAsync(),
  };
}

/** Other trust domains read our keys with our bundle: they must have had the time as well. */
function jwtHoldOf({ jwtKeyHold, federationAddr, federationRefreshHint }: ServerConfig): number {
  return federationAddr === null ? jwtKeyHold : Math.max(jwtKeyHold, HELD_REFRESHES * federationRefreshHint);
}

function agentSocketOf(config: ServerConfig, dataDir: string): string {
  return config.agentSocket ?? join(dataDir, 'agent.sock');
}

type HttpParts = Omit<Parameters<typeof createApi>[0], 'trustDomain' | 'log' | 'loopback'>;

async function listenHttp(config: ServerConfig, log: Logger, parts: HttpParts): Promise<HttpServer> {
  const { trustDomain, httpAddr } = config;
  const app = createApi({ ...parts, trustDomain, log, loopback: isLoopback(httpAddr.host) });
  try {
    return await serveHttp(app, httpAddr, log);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'EADDRINUSE' ? 'something listens there already' : String(code);
    throw new CarnetError(
      'config_invalid',
      `--http-addr ${formatAddress(httpAddr)} can't be had: ${why}; give another`,
      { cause: error },
    );
  }
}

/** Runs `work` again and again while it fails for what may pass, with back-off. */
async function untilDatabaseAnswers(
  log: Logger,
  signal: AbortSignal,
  work: () => Promise<void>,
): Promise<void> {
  for (let delayMs = RETRY_MIN_MS; ; delayMs = Math.min(RETRY_MAX_MS, delayMs * 2)) {
    signal.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      if (!isRetryable(error)) throw error;
      log.warn({ reason: (error as Error).message }, 'what the start needs cannot be used yet; trying again');
    }
    await sleep(delayMs * (0.5 + Math.random() / 2), undefined, { signal });
  }
}

/** What there is to find out whether this server can issue. */
interface Checked {
  readonly probe: DatabaseProbe;
  readonly recording: RecordingWatch;
  readonly authorities: Authorities;
  readonly keys: KeyStore;
}

function readinessOf(started: boolean, { probe, recording, authorities, keys }: Checked): Readiness {
  let authority = 'an issuing CA signs';
  let canSign = true;
  try {
    authorities.active();
  } catch (error) {
    authority = (error as Error).message;
    canSign = false;
  }
  const checks = [
    { name: 'start', ok: started, detail: started ? 'everything is up' : 'the server is starting' },
    { name: 'database', ok: probe.problem === null, detail: probe.problem ?? 'it answers' },
    { name: 'recording', ok: recording.problem === null, detail: recording.problem ?? 'nothing failed' },
    { name: 'authority', ok: canSign, detail: authority },
    { name: 'keys', ok: keys.problem === null, detail: keys.problem ?? 'they can be used' },
  ];
  return { ready: checks.every(({ ok }) => ok), checks };
}

/** Metrics that show a state, taken when they are asked for. */
function observe(
  metrics: Metrics,
  { probe, recording, authorities }: Checked,
  recorder: BatchRecorder,
): void {
  metrics.beforeScrape(() => {
    metrics.databaseUp.set(probe.problem === null && recording.problem === null ? 1 : 0);
    metrics.recordQueueLength.set(recorder.queued);
    metrics.authorityExpiry.reset();
    for (const { id, kind, state, notAfter } of [...authorities.list(), ...authorities.jwtKeys()])
      if (state !== 'retired') metrics.authorityExpiry.set({ kind, id, state }, notAfter.getTime() / 1000);
  });
}
