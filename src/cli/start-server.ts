import { hostname } from 'node:os';
import { join } from 'node:path';
import { nodeSelectorsOf } from '../agent/server/agent-gate.ts';
import type { Readiness } from '../api/health.ts';
import type { TokenUses } from '../attestation/node/token-uses.ts';
import { BatchRecorder, RECORDER_LIMITS } from '../audit/record.ts';
import { createIssue } from '../ca/issue.ts';
import { createMintJwt } from '../ca/mint-jwt.ts';
import { JWT_SVID } from '../ca/profile.ts';
import type { Clock } from '../clock.ts';
import type { ServerConfig } from '../config.ts';
import { PostgresAgentStore } from '../db/agents.ts';
import { PostgresAuthorityStore } from '../db/authorities.ts';
import { PostgresFleetStore } from '../db/consumers.ts';
import { openDataDir } from '../db/data-dir.ts';
import { PostgresEntryStore } from '../db/entries.ts';
import { PostgresExplanationSource } from '../db/explanation-source.ts';
import { PostgresExportSource } from '../db/export-source.ts';
import { summarizeFleet } from '../db/fleet-summary.ts';
import { PostgresForwardStore } from '../db/forward-sinks.ts';
import { PostgresIssuanceQuery } from '../db/issuance-query.ts';
import { PostgresJoinTokenStore } from '../db/join-tokens.ts';
import { PostgresLegalHolds } from '../db/legal-holds.ts';
import { Listener, type Topic } from '../db/listen.ts';
import { PostgresLog } from '../db/log.ts';
import { migrate } from '../db/migrate.ts';
import { insertEvents, listEvents } from '../db/operator-events.ts';
import { ensurePartitions } from '../db/partitions.ts';
import { PostgresReports } from '../db/reports.ts';
import { PostgresRetiredList } from '../db/retention.ts';
import { findCrl, listDenials } from '../db/revocations.ts';
import { listEndedRotations } from '../db/rotations.ts';
import { freeServerNode, keepServerNode } from '../db/server-nodes.ts';
import { PostgresSessionStore } from '../db/sessions.ts';
import { PostgresTokenUses } from '../db/token-uses.ts';
import { PostgresTokenStore } from '../db/tokens.ts';
import { passRecordedTransactions } from '../db/transaction-counter.ts';
import type { Logger } from '../log.ts';
import { createMetrics } from '../metrics.ts';
import { liftDenial, revoke } from '../revocation/revoke.ts';
import { applyPlan, readSituation } from '../rotation/apply.ts';
import { Authorities } from '../rotation/authorities.ts';
import { requestStep, startOrResume } from '../rotation/operate.ts';
import { pictureOf } from '../rotation/picture.ts';
import { importUpstream, requestUpstream } from '../rotation/upstream.ts';
import { type Address, formatAddress } from '../setting-values.ts';
import { quorumOf } from '../witness-settings.ts';
import { applyOptionsOf } from './apply-options.ts';
import { confirmByCluster } from './confirm-by-cluster.ts';
import { prepareFirstStart } from './first-start.ts';
import { Grants } from './grants.ts';
import { listenHttp } from './listen-http.ts';
import { countedIssue } from './measure.ts';
import { openNodeAttestors } from './node-attestors.ts';
import { openIdentityProvider } from './open-identity-provider.ts';
import { openKeyStore } from './open-key-store.ts';
import { openStorage } from './open-storage.ts';
import { refuseDenied } from './refuse-denied.ts';
import { Reloads } from './reloads.ts';
import { scheduleUpkeep } from './schedule.ts';
import { observeHealth, readinessOf } from './server-health.ts';
import { type Agent, type AgentOptions, startAgent } from './start-agent.ts';
import { type OwnEndpoint, openFederation, startBundleEndpoint } from './start-federation.ts';
import { startForwarding } from './start-forwarding.ts';
import { type Https, peersOf, startHttps } from './start-https.ts';
import { startIstio } from './start-istio.ts';
import { type KubernetesPart, startKubernetes } from './start-kubernetes.ts';
import { type Link, startLink } from './start-link.ts';
import { startLog } from './start-log.ts';
import { type RemoteSds, startSds } from './start-sds.ts';
import { startWitnesses } from './start-witnesses.ts';
import { untilDatabaseAnswers } from './until-database-answers.ts';
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
  const identityProvider = await openIdentityProvider(config, clock);
  const dataDir = openDataDir(config.dataDir);
  stack.defer(() => dataDir.close());
  const keys = await openKeyStore(config, options.keyEncryptionKeyText, log);
  stack.defer(() => keys.close());
  const storage = stack.use(await openStorage({ ...options, dataDir }));
  const { url, database, probe, recording } = storage;

  const entries = new PostgresEntryStore(database);
  const tokens = new PostgresTokenStore(database);
  const joinTokens = new PostgresJoinTokenStore(database);
  const agents = new PostgresAgentStore(database);
  const store = new PostgresAuthorityStore(database);
  const authorities = new Authorities(store, keys, config.trustDomain);
  const apply = applyOptionsOf(config, store, keys, clock);

  const auditLog = new PostgresLog(database, { witnesses: config.witnesses, quorum: quorumOf(config) });
  const federation = openFederation({ config, database, authorities, clock, log, metrics });
  let agent: Agent | null = null;
  let sds: RemoteSds | null = null;
  const deliveries = (): readonly Pick<Agent, 'instances' | 'proxies'>[] => [agent ?? [], sds ?? []].flat();
  let started = false;
  const readiness = (): Readiness => readinessOf(started, { probe, recording, authorities, keys });
  const issuances = new PostgresIssuanceQuery(database, clock);
  const http = await listenHttp(config, log, {
    entries,
    tokens,
    sessions: new PostgresSessionStore(database),
    identityProvider,
    identifyPeer: peersOf({ config, authorities, clock }),
    isFirstUse: (sha256, until) => tokenUses.isFirst(sha256, until),
    recordEvent: (event) => insertEvents(database, [event]),
    joinTokens,
    agents,
    issuances,
    reports: new PostgresReports(database, clock),
    explanations: new PostgresExplanationSource(database, issuances),
    operatorEvents: { search: (filter, page) => listEvents(database, page, filter) },
    auditLog,
    exports: new PostgresExportSource(database),
    sinks: new PostgresForwardStore(database),
    holds: new PostgresLegalHolds(database),
    retired: new PostgresRetiredList(database),
    authorities: store,
    rotations: {
      pictures: () => store.transact(async (tx) => pictureOf(clock(), await readSituation(tx))),
      startOrResume: (request) => startOrResume(apply, request),
      requestStep: (request) => requestStep(apply, request),
      ended: () => listEndedRotations(database),
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
    fleet: () => summarizeFleet(database),
    proxies: () => deliveries().flatMap(({ proxies }) => proxies.list()),
    bundle: () => (authorities.list().length === 0 ? undefined : authorities.bundle()),
    jwtKeys: () => store.jwtKeys(),
    jwtIssuer: config.jwtIssuer,
    readiness,
    metrics,
    clock,
  });
  stack.defer(() => http.close(HTTP_GRACE_MS));

  const grants = new Grants(entries, () => listDenials(database));
  await untilDatabaseAnswers(log, options.signal, async () => {
    await migrate({ url, ownerUrl: config.databaseOwnerUrl, log });
    await ensurePartitions(database);
    const passed = await passRecordedTransactions(database);
    if (passed > 0n)
      log.warn(
        { passed: Number(passed) },
        'the records are from another cluster: its transactions were passed',
      );
    // Before anything is changed: whether this database is ours.
    await authorities.refresh();
    for (const step of await applyPlan(apply, 'server:start'))
      log.info({ step: step.kind, why: step.why }, 'authorities changed');
    await authorities.refresh();
    await prepareFirstStart(dataDir.path, config.trustDomain, tokens, entries);
    await grants.refresh('entries');
    await grants.refresh('denials');
    await federation.federations.refresh();
  });
  options.signal.throwIfAborted();

  let kubernetes: KubernetesPart | null = null;
  let link: Link | null = null;
  let endpoint: OwnEndpoint | null = null;
  let https: Https | null = null;
  authorities.onBundleChange(() => {
    for (const { instances } of deliveries()) instances.bundleChanged();
    kubernetes?.bundleChanged();
  });
  federation.federations.onBundleChange(() => {
    for (const { instances } of deliveries()) instances.bundleChanged();
  });
  const read = async (topic: Topic): Promise<void> => {
    if (topic === 'entries' || topic === 'denials') {
      await grants.refresh(topic);
      for (const { instances } of deliveries()) instances.entriesChanged();
    } else if (topic === 'federation') await federation.federations.refresh();
    else if (topic !== 'agents') {
      await authorities.refresh();
      endpoint?.authoritiesChanged();
      https?.authoritiesChanged();
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
  observeHealth(metrics, { probe, recording, authorities, keys }, recorder);
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
  stack.use(startLog({ store: auditLog, keys, trustDomain: config.trustDomain, log, metrics }));
  stack.use(startWitnesses({ config, database, store: auditLog, clock, log, metrics }));
  stack.use(await startForwarding({ config, url, clock, log, metrics }));
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
    denials: () => grants.denials,
    clock,
    log,
    metrics,
  });
  if (endpoint !== null) stack.use(endpoint);
  https = await startHttps(
    { config, authorities, recorder, denials: () => grants.denials, clock, log, metrics },
    http.app,
  );
  if (https !== null) stack.use(https);
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
      () => grants.denials,
    ),
    metrics,
    JWT_SVID,
  );
  const issueSvid = countedIssue(
    refuseDenied(issue, () => grants.denials),
    metrics,
  );
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
        index: () => grants.index,
        denials: () => grants.denials,
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
      grantsOf: (attestation, node) => grants.of(attestation, node),
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
      grantsOf: (attestation, node) => grants.of(attestation, node),
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
        grants.of({ ...rest, selectors: [...selectors, ...nodeSelectorsOf(node, [])] }, node),
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
    authorize: (selectors) => grants.index.authorize(selectors),
    issue: countedIssue(
      refuseDenied(issue, () => grants.denials),
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

function agentSocketOf(config: ServerConfig, dataDir: string): string {
  return config.agentSocket ?? join(dataDir, 'agent.sock');
}
