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
import { PostgresJoinTokenStore } from '../db/join-tokens.ts';
import { Listener, type Topic } from '../db/listen.ts';
import { PostgresLog } from '../db/log.ts';
import { migrate } from '../db/migrate.ts';
import { ensurePartitions } from '../db/partitions.ts';
import { listDenialsInForce } from '../db/revocations.ts';
import { freeServerNode, keepServerNode } from '../db/server-nodes.ts';
import { PostgresTokenUses } from '../db/token-uses.ts';
import { PostgresTokenStore } from '../db/tokens.ts';
import { passRecordedTransactions } from '../db/transaction-counter.ts';
import type { Logger } from '../log.ts';
import { createMetrics } from '../metrics.ts';
import { applyPlan } from '../rotation/apply.ts';
import { Authorities } from '../rotation/authorities.ts';
import type { Address } from '../setting-values.ts';
import { quorumOf } from '../witness-settings.ts';
import { applyOptionsOf } from './apply-options.ts';
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
import { restStorage } from './rest-storage.ts';
import { scheduleUpkeep } from './schedule.ts';
import { observeHealth, readinessOf } from './server-health.ts';
import { type Agent, type AgentOptions, startAgent } from './start-agent.ts';
import { type OwnEndpoint, openFederation, startBundleEndpoint } from './start-federation.ts';
import { startForwarding } from './start-forwarding.ts';
import { startGrpc } from './start-grpc.ts';
import { type Https, peersOf, startHttps } from './start-https.ts';
import { type KubernetesPart, startKubernetes } from './start-kubernetes.ts';
import type { Link } from './start-link.ts';
import { startLog } from './start-log.ts';
import type { RemoteSds } from './start-sds.ts';
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

  const witnessing = { witnesses: config.witnesses, quorum: quorumOf(config) };
  const auditLog = new PostgresLog(database, witnessing);
  const federation = openFederation({ config, database, authorities, clock, log, metrics });
  let agent: Agent | null = null;
  let sds: RemoteSds | null = null;
  const deliveries = (): readonly Pick<Agent, 'instances' | 'proxies'>[] => [agent ?? [], sds ?? []].flat();
  let started = false;
  const readiness = (): Readiness => readinessOf(started, { probe, recording, authorities, keys });
  const http = await listenHttp(config, log, {
    ...restStorage(storage, apply, clock),
    entries,
    tokens,
    identityProvider,
    identifyPeer: peersOf({ config, authorities, clock }),
    isFirstUse: (sha256, until) => tokenUses.isFirst(sha256, until),
    joinTokens,
    agents,
    auditLog: new PostgresLog(storage.history, witnessing),
    authorities: store,
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

  const grants = new Grants(entries, () => listDenialsInForce(database));
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
    const grpc = await startGrpc(
      {
        config,
        database,
        joinTokens,
        agents,
        attestors,
        authorities,
        recorder,
        grants,
        federated: () => federation.federations.bundles(),
        issue: issueSvid,
        mintJwt,
        node,
        clock,
        log,
        metrics,
      },
      config.grpcAddr,
    );
    stack.use(grpc);
    ({ link, sds } = grpc);
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
    issue: issueSvid,
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
