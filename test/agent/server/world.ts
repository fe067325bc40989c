import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import type { ClientDuplexStream, ServiceError } from '@grpc/grpc-js';
import { createJoinToken, hashJoinToken } from '../../../src/agent/join-token-text.ts';
import {
  type AgentIdentity,
  acceptCertificate,
  createAgentKey,
} from '../../../src/agent/link/agent-identity.ts';
import { channelOptions, type ServerTrust, serverCredentials } from '../../../src/agent/link/channel.ts';
import { BatchRecorder, RECORDER_LIMITS } from '../../../src/audit/record.ts';
import { createIssue } from '../../../src/ca/issue.ts';
import { parseKeyEncryptionKey } from '../../../src/ca/key-encryption-key.ts';
import { createMintJwt } from '../../../src/ca/mint-jwt.ts';
import { sealedKeyStore } from '../../../src/ca/sealed-key-store.ts';
import { refuseDenied } from '../../../src/cli/refuse-denied.ts';
import { Reloads } from '../../../src/cli/reloads.ts';
import { type Link, startLink } from '../../../src/cli/start-link.ts';
import { startSds } from '../../../src/cli/start-sds.ts';
import { readServerConfig } from '../../../src/config.ts';
import { PostgresAgentStore } from '../../../src/db/agents.ts';
import { PostgresAuthorityStore } from '../../../src/db/authorities.ts';
import { PostgresFleetStore } from '../../../src/db/consumers.ts';
import { PostgresEntryStore } from '../../../src/db/entries.ts';
import { insertIssuances } from '../../../src/db/issuances.ts';
import { PostgresJoinTokenStore } from '../../../src/db/join-tokens.ts';
import { Listener, type Topic } from '../../../src/db/listen.ts';
import { listEvents } from '../../../src/db/operator-events.ts';
import { listDenials } from '../../../src/db/revocations.ts';
import {
  type AgentCertificate,
  AgentLinkClient,
  type AttestRequest,
  type AttestResponse,
  type Claim,
  type Hello,
  NodeAttestationClient,
  type SessionRequest,
  type SessionResponse,
} from '../../../src/gen/carnet/agent/v1/agent.ts';
import { carnetErrorOf } from '../../../src/grpc/error-code.ts';
import { parseTrustDomain } from '../../../src/identity/spiffe-id.ts';
import { createMetrics } from '../../../src/metrics.ts';
import { EntryIndex } from '../../../src/policy/entry-index.ts';
import { parseEntry } from '../../../src/policy/parse-entry.ts';
import { denialOf } from '../../../src/revocation/denial.ts';
import { revoke } from '../../../src/revocation/revoke.ts';
import { type ApplyOptions, applyPlan } from '../../../src/rotation/apply.ts';
import { Authorities } from '../../../src/rotation/authorities.ts';
import { log, openDatabase } from '../../db/fixtures.ts';
import { createDatabase } from '../../support/database.ts';

export const TRUST_DOMAIN = parseTrustDomain('carnet.local');
const KEYS = sealedKeyStore(parseKeyEncryptionKey(randomBytes(32).toString('hex')));
const MINUTE_MS = 60_000;
const REVOCATION = {
  reasonCode: 'keyCompromise',
  reason: 'test',
  force: false,
  actor: 'operator:test',
} as const;

export type World = Awaited<ReturnType<typeof createWorld>>;
export type Replica = Awaited<ReturnType<World['replica']>>;

/** A database with authorities, and as many servers' sides of the link on it as a test wants. Ends with `close`. */
export async function createWorld() {
  const { url, drop } = await createDatabase();
  const database = openDatabase(url, { maxConnections: 8 });
  const store = new PostgresAuthorityStore(database);
  const entries = new PostgresEntryStore(database);
  const joinTokens = new PostgresJoinTokenStore(database);
  const agents = new PostgresAgentStore(database);
  const apply: ApplyOptions = {
    store,
    keys: KEYS,
    trustDomain: TRUST_DOMAIN,
    schedule: {
      rootTtlMs: 30 * 86_400_000,
      issuingTtlMs: 7 * 86_400_000,
      rootShare: null,
      issuingShare: null,
      holdSeconds: 0,
      jwtKeyTtlMs: 7 * 86_400_000,
      jwtShare: null,
      jwtHoldSeconds: 0,
    },
    rootKeyType: 'ec-p256',
    issuingKeyType: 'ec-p256',
    jwtKeyType: 'ec-p256',
    backdateSeconds: 30,
    publicUrl: null,
    clock: Date.now,
  };
  await applyPlan(apply, 'server:start');
  const closes: (() => Promise<void>)[] = [];
  return {
    database,
    entries,
    joinTokens,
    agents,
    apply,
    replica: async (flags: Record<string, string> = {}) => {
      const replica = await startReplica({ url, database, store, entries, joinTokens, agents, flags });
      closes.push(replica.close);
      return replica;
    },
    /** Makes an entry as an operator writes it. */
    grant: (entry: Record<string, unknown>) =>
      entries.create(parseEntry(entry, TRUST_DOMAIN), 'operator:test'),
    /** The text of a token for a node. */
    token: async (node: string | null = null, selectors: readonly string[] = [], ttlMs = 10 * MINUTE_MS) => {
      const roots = (await store.bundle())?.x509Authorities ?? [];
      const { id, text } = createJoinToken(roots);
      const expiresAt = new Date(Date.now() + ttlMs);
      await joinTokens.create(
        { id, sha256: hashJoinToken(text), node, selectors, expiresAt },
        'operator:test',
      );
      return { id, text };
    },
    revokeNode: (node: string) => revoke(apply, { ...REVOCATION, target: { kind: 'node', node } }),
    revokeInstance: (instance: string) =>
      revoke(apply, { ...REVOCATION, target: { kind: 'instance', instance } }),
    /** The events of this action, newest first. */
    events: async (action: string) =>
      (await listEvents(database, { limit: 1000, cursor: null })).items.filter(
        (one) => one.action === action,
      ),
    close: async () => {
      for (const close of closes) await close();
      await database.close();
      await drop();
    },
  };
}

interface ReplicaOptions {
  readonly url: string;
  readonly database: ReturnType<typeof openDatabase>;
  readonly store: PostgresAuthorityStore;
  readonly entries: PostgresEntryStore;
  readonly joinTokens: PostgresJoinTokenStore;
  readonly agents: PostgresAgentStore;
  readonly flags: Record<string, string>;
}

/** One server's side, which hears of changes as a server does. */
async function startReplica(options: ReplicaOptions) {
  const { url, database, store, entries, joinTokens, agents, flags } = options;
  const config = readServerConfig(new Map(Object.entries(flags)), {});
  const authorities = new Authorities(store, KEYS, TRUST_DOMAIN);
  await authorities.refresh();
  let index = new EntryIndex(await entries.list());
  let denials = await listDenials(database);
  const recorder = new BatchRecorder(
    (batch) => insertIssuances(database, batch),
    RECORDER_LIMITS,
    () => performance.now(),
  );
  const issuing = { recorder, clock: Date.now, backdateSeconds: 30, publicUrl: null };
  const metrics = createMetrics();
  const issue = refuseDenied(
    createIssue({ ...issuing, activeAuthority: () => authorities.active(), defaultTtlSeconds: 3600 }),
    () => denials,
  );
  const link: Link = await startLink(
    {
      config,
      database,
      joinTokens,
      agents,
      attestors: [],
      confirm: null,
      authorities,
      recorder,
      index: () => index,
      denials: () => denials,
      federated: () => new Map(),
      issue,
      mintJwt: createMintJwt({
        activeKey: () => authorities.activeJwtKey(),
        recorder,
        clock: Date.now,
        ttlSeconds: 300,
        issuer: null,
      }),
      clock: Date.now,
      log,
      metrics,
    },
    { host: '127.0.0.1', port: 0 },
  );
  const sds = await startSds({
    config,
    database,
    listener: link.listener,
    node: 'replica',
    issue,
    grantsOf: ({ selectors, instance }, node) =>
      index
        .authorize(selectors)
        .filter(({ spiffeId }) => denialOf(denials, { identity: spiffeId, instance, node }) === undefined),
    bundle: () => authorities.bundle(),
    fleet: new PostgresFleetStore(database, 'replica', `grpc ${link.address.port}`),
    clock: Date.now,
    log,
    metrics,
  });
  authorities.onBundleChange(() => sds?.instances.bundleChanged());
  const read = async (topic: Topic): Promise<void> => {
    if (topic === 'entries') index = new EntryIndex(await entries.list());
    else if (topic === 'denials') denials = await listDenials(database);
    else if (topic !== 'agents') await authorities.refresh();
    if (topic === 'entries' || topic === 'denials') sds?.instances.entriesChanged();
    await link.changed(topic);
  };
  const reloads = new Reloads({ read, onFailed: () => undefined });
  const heard = new Listener({ url, log, random: Math.random, wake: (topic) => reloads.wake(topic) });
  return {
    address: `127.0.0.1:${link.address.port}`,
    port: link.address.port,
    link,
    /** With the flag `sds-on-grpc`. */
    sds,
    authorities,
    metrics,
    trust: (): ServerTrust => {
      const { x509Authorities, crls } = authorities.bundle();
      return { trustDomain: TRUST_DOMAIN, roots: x509Authorities, crls };
    },
    close: async () => {
      await heard.close();
      await reloads[Symbol.asyncDispose]();
      await sds?.close();
      await link.close();
      await recorder.close();
    },
  };
}

/** Attests by a claim. Rejects with the server's own code. */
export async function attest(
  replica: Replica,
  claim: Partial<Claim>,
): Promise<{ identity: AgentIdentity; answer: AgentCertificate }> {
  const key = createAgentKey();
  const trust = replica.trust();
  const client = new NodeAttestationClient(
    replica.address,
    serverCredentials(trust, null),
    channelOptions(trust),
  );
  try {
    const stream = client.attest();
    const value = { method: 'join_token', payload: new Uint8Array(), csr: key.csr, ...claim };
    stream.write({ step: { $case: 'claim', value } });
    const answer = await firstOf(stream);
    stream.end();
    return {
      answer,
      identity: await acceptCertificate(answer, key, { ...trust, now: Date.now() }),
    };
  } finally {
    client.close();
  }
}

export function payloadOf(text: string): Uint8Array {
  return Buffer.from(text, 'utf8');
}

function firstOf(stream: ClientDuplexStream<AttestRequest, AttestResponse>): Promise<AgentCertificate> {
  return new Promise((resolve, reject) => {
    stream.on('error', (error: ServiceError) => reject(carnetErrorOf(error)));
    stream.on('data', ({ step }: AttestResponse) => {
      if (step?.$case === 'certificate') resolve(step.value);
    });
  });
}

/** An agent's own connection, its session and its calls; nothing is done by itself. */
export class TestAgent {
  readonly client: AgentLinkClient;
  readonly identity: AgentIdentity;
  /** Parts as they were received, oldest first. */
  readonly responses: SessionResponse[] = [];
  #stream: ClientDuplexStream<SessionRequest, SessionResponse> | null = null;
  #error: Error | null = null;
  #wake = (): void => undefined;

  constructor(replica: Replica, identity: AgentIdentity) {
    const trust = replica.trust();
    this.identity = identity;
    this.client = new AgentLinkClient(
      replica.address,
      serverCredentials(trust, identity),
      channelOptions(trust),
    );
  }

  /** Begins a session, and resolves with its first message. Rejects with the server's code. */
  async begin(hello: Partial<Hello> = {}): Promise<SessionResponse> {
    const stream = this.client.session();
    this.#stream = stream;
    this.#error = null;
    stream.on('data', (response: SessionResponse) => {
      this.responses.push(response);
      this.#wake();
    });
    stream.on('error', (error: ServiceError) => {
      this.#error = carnetErrorOf(error);
      this.#wake();
    });
    stream.write({
      message: {
        $case: 'hello',
        value: { version: '1', runId: RUN, soonestEndMs: 0, bundleSequence: 0, ...hello },
      },
    });
    return this.next();
  }

  /** The next message that was not asked for yet; rejects when the session has ended by an error. */
  async next(): Promise<SessionResponse> {
    for (;;) {
      const response = this.responses.shift();
      if (response !== undefined) return response;
      if (this.#error !== null) throw this.#error;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** Waits for the end of the session, and returns the code. */
  async ended(): Promise<string> {
    for (;;)
      try {
        await this.next();
      } catch (error) {
        return (error as { code: string }).code;
      }
  }

  send(message: SessionRequest['message']): void {
    this.#stream?.write({ message });
  }

  /** Makes a call. Rejects with the server's code. */
  call<Q, A>(
    method: (request: Q, callback: (error: ServiceError | null, answer: A) => void) => unknown,
    request: Q,
  ): Promise<A> {
    return new Promise((resolve, reject) => {
      method.call(this.client, request, (error, answer) =>
        error === null ? resolve(answer) : reject(carnetErrorOf(error)),
      );
    });
  }

  async close(): Promise<void> {
    const stream = this.#stream;
    if (stream !== null && !stream.destroyed) {
      stream.on('error', () => undefined);
      const closed = once(stream, 'close').catch(() => undefined);
      stream.cancel();
      await Promise.race([closed, new Promise((resolve) => setImmediate(resolve))]);
    }
    this.client.close();
  }
}

export const RUN = randomBytes(16);

/** An agent of a new node, attested by a join token. */
export async function join(
  world: World,
  replica: Replica,
  node: string = `n-${randomUUID()}`,
  selectors: readonly string[] = [],
): Promise<AgentIdentity> {
  const { text } = await world.token(node, selectors);
  return (await attest(replica, { payload: payloadOf(text) })).identity;
}
