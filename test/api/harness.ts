import 'reflect-metadata';
import { Writable } from 'node:stream';
import { X509CertificateGenerator } from '@peculiar/x509';
import type { ExecutionContext } from 'ava';
import { z } from 'zod';
import { type ApiDependencies, createApi } from '../../src/api/create-api.ts';
import type { Readiness } from '../../src/api/health.ts';
import { serveHttp } from '../../src/api/http-server.ts';
import type { Role } from '../../src/api/role.ts';
import type { TokenStore } from '../../src/api/token.ts';
import { createTokenText, hashToken } from '../../src/api/token-text.ts';
import type { OperatorEvent } from '../../src/audit/operator-event.ts';
import type { IssuanceDetail } from '../../src/audit/query.ts';
import type { RetiredPartition } from '../../src/audit/retired-list.ts';
import type { StoredAuthority } from '../../src/ca/authority-store.ts';
import { Proxies } from '../../src/delivery/proxies.ts';
import { CarnetError } from '../../src/errors.ts';
import { parseSelector } from '../../src/identity/selector.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { createLogger } from '../../src/log.ts';
import { createMetrics } from '../../src/metrics.ts';
import { MemoryAgents, MemoryJoinTokens } from './memory-agents.ts';
import { MemoryFederations } from './memory-federations.ts';
import { MemoryHolds } from './memory-holds.ts';
import { MemoryLog } from './memory-log.ts';
import { MemorySinks } from './memory-sinks.ts';
import {
  MemoryEntries,
  MemoryExplanations,
  MemoryIssuances,
  MemoryOperatorEvents,
  MemoryReports,
  MemorySessions,
  MemoryTokens,
  Outage,
} from './memory-stores.ts';

export const NOW = Date.parse('2026-03-10T12:00:00Z');
export const TRUST_DOMAIN = parseTrustDomain('carnet.local');

export type Api = Awaited<ReturnType<typeof startApi>>;
export type Bearer =
  | 'none'
  | 'auditor'
  | 'operator'
  | 'admin'
  | 'break-glass'
  | 'revoked'
  | 'expired'
  | 'unknown'
  | 'malformed';

/** The whole API over real HTTP, with our own interfaces in memory behind it. Ends with the test. */
export async function startApi(t: ExecutionContext, overrides: Partial<ApiDependencies> = {}) {
  const outage = new Outage();
  const issuances = new MemoryIssuances(outage);
  const memoryTokens = new MemoryTokens(outage);
  const stores = {
    entries: new MemoryEntries(outage),
    tokens: memoryTokens,
    sessions: new MemorySessions(outage, memoryTokens),
    issuances,
    explanations: new MemoryExplanations(issuances),
    reports: new MemoryReports(),
    operatorEvents: new MemoryOperatorEvents(),
    joinTokens: new MemoryJoinTokens(),
    agents: new MemoryAgents(),
    auditLog: new MemoryLog(),
    exports: { rows: async () => [] },
    sinks: new MemorySinks(),
    holds: new MemoryHolds(),
    retired: { retired: async (): Promise<RetiredPartition[]> => [] },
  };
  const time = { now: NOW };
  const clock = () => time.now;
  const authorities: StoredAuthority[] = [];
  const proxies = new Proxies(clock);
  const metrics = createMetrics();
  const readiness: { now: Readiness } = { now: { ready: true, checks: [] } };
  const logged: string[] = [];
  const events: OperatorEvent[] = [];
  const uses = new Set<string>();
  const log = createLogger(
    'trace',
    new Writable({
      write: (chunk, _encoding, done) => {
        logged.push(String(chunk));
        done();
      },
    }),
  );
  const tokens = await bearers(overrides.tokens ?? stores.tokens);
  stores.tokens.changes.length = 0;
  const app = createApi({
    ...stores,
    trustDomain: TRUST_DOMAIN,
    authorities: {
      list: async () => {
        outage.check();
        return authorities;
      },
    },
    revocations: {
      revoke: async () => ({ denialId: 1, count: 2, sequence: 3 }),
      lift: async (id) => {
        throw new CarnetError('not_found', `no denial ${id} is in force`);
      },
      denials: async () => [],
      crl: async (authorityId) => (authorityId === 'none' ? undefined : new Uint8Array([0x30, 0])),
    },
    upstream: {
      request: async () => new Uint8Array([0x30, 0]),
      import: async () => 'issuing-0a0b0c0d',
    },
    rotations: {
      pictures: async () => [],
      startOrResume: async () => undefined,
      requestStep: async () => undefined,
      ended: async () => [],
    },
    federation: new MemoryFederations(TRUST_DOMAIN),
    fleet: async () => ({ bundleSequence: 3, connected: 5, away: 1, behind: 2, refusing: 1 }),
    proxies: () => proxies.list(),
    bundle: () => ({
      trustDomain: TRUST_DOMAIN,
      sequence: 3,
      x509Sequence: 3,
      crls: [],
      jwtAuthorities: [],
      x509Authorities: authorities
        .filter(({ kind }) => kind === 'root')
        .map(({ certificate }) => certificate),
    }),
    jwtKeys: async () => [],
    jwtIssuer: 'https://carnet.example',
    readiness: () => readiness.now,
    metrics,
    clock,
    log,
    loopback: true,
    webUrl: null,
    recordEvent: async (event) => {
      outage.check();
      events.push(event);
    },
    recordEvidenceReads: false,
    identityProvider: null,
    identifyPeer: () => null,
    roleIdentities: [],
    isFirstUse: async (sha256) => {
      const hex = Buffer.from(sha256).toString('hex');
      return !uses.has(hex) && uses.add(hex) !== undefined;
    },
    ...overrides,
  });
  const server = await serveHttp(app, { host: '127.0.0.1', port: 0 }, log);
  t.teardown(() => server.close(0));
  return {
    ...stores,
    url: server.url,
    outage,
    time,
    authorities,
    proxies,
    readiness,
    metrics,
    logged,
    events,
    bearers: tokens,
  };
}

/** A token of each kind that can come in. */
async function bearers(tokens: TokenStore): Promise<Record<Bearer, string | null>> {
  const make = async (name: string, role: Role, expiresAt: Date | null) => {
    const text = createTokenText(role);
    const token = await tokens.create(
      { name, role, scopes: null, expiresAt, sha256: hashToken(text) },
      'server:test',
    );
    return { text, id: token.id };
  };
  const revoked = await make('revoked', 'admin', null);
  await tokens.revoke(revoked.id, 'server:test');
  return {
    none: null,
    auditor: (await make('eve', 'auditor', null)).text,
    operator: (await make('olga', 'operator', null)).text,
    'break-glass': (await make('glass', 'break-glass', new Date(NOW + 3600_000))).text,
    admin: (await make('root', 'admin', new Date(NOW + 3600_000))).text,
    revoked: revoked.text,
    expired: (await make('expired', 'admin', new Date(NOW))).text,
    unknown: createTokenText('admin'),
    malformed: 'hunter2',
  };
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // biome-ignore lint/suspicious/noExplicitAny: the tests look into answers whose schemas have checked them
  readonly json: any;
}

export async function call(
  api: Pick<Api, 'url' | 'bearers'>,
  method: string,
  path: string,
  {
    as = 'admin',
    body,
    headers = {},
  }: { as?: Bearer; body?: unknown; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const token = api.bearers[as];
  const response = await fetch(api.url + path, {
    method,
    headers: {
      ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = /json/.test(response.headers.get('content-type') ?? '') && text !== '';
  return {
    status: response.status,
    headers: response.headers,
    text,
    json: isJson ? JSON.parse(text) : undefined,
  };
}

/** Checks an answer against what the OpenAPI document says of this operation and status. */
export function assertDocumented(
  t: ExecutionContext,
  // biome-ignore lint/suspicious/noExplicitAny: a JSON document
  document: any,
  operation: readonly [method: string, path: string],
  answer: Answer,
): void {
  const [method, path] = operation;
  const { responses } = document.paths[path][method.toLowerCase()];
  const documented = responses[answer.status] ?? responses.default;
  const mediaType = answer.headers.get('content-type') ?? '';
  const schema = documented.content[mediaType]?.schema;
  t.truthy(schema, `${method} ${path} answers ${answer.status} as ${mediaType}, which is not documented`);
  const text = JSON.stringify({ ...schema, $defs: document.components.schemas });
  const json = JSON.parse(text.replaceAll('#/components/schemas/', '#/$defs/'));
  const result = z.fromJSONSchema(json).safeParse(answer.json ?? answer.text);
  t.true(result.success, `${method} ${path}: ${result.error?.message}`);
}

export const ENTRY = { id: 'web', spiffe_id: '/web', selectors: ['unix:uid:1000'] };

/** A certificate for answers that carry one; what it says is of no matter here. */
export async function makeCertificate(name: string): Promise<Uint8Array> {
  const keys = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, [
    'sign',
    'verify',
  ]);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: '0a',
    name: `CN=${name}`,
    notBefore: new Date(NOW),
    notAfter: new Date(NOW + 86_400_000),
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
    keys,
  });
  return new Uint8Array(certificate.rawData);
}

export async function makeAuthority(fields: Partial<StoredAuthority> = {}): Promise<StoredAuthority> {
  return {
    id: 'root-01020304',
    kind: 'root',
    state: 'active',
    parentId: 'root-01020304',
    certificate: await makeCertificate('root'),
    notBefore: new Date(NOW - 86_400_000),
    notAfter: new Date(NOW + 365 * 86_400_000),
    keyAlgorithm: 'ec-p256',
    sealedKey: new Uint8Array([1]),
    keyReference: null,
    crossCertificate: null,
    intermediates: [],
    publishedSequence: 1,
    createdAt: new Date(NOW - 86_400_000),
    stateSince: new Date(NOW - 86_400_000),
    ...fields,
  };
}

export function makeIssuance(number: number, certificate: Uint8Array): IssuanceDetail {
  return {
    serial: number.toString(16).padStart(32, '0'),
    profile: 'x509-svid',
    identity: number % 2 === 0 ? 'spiffe://carnet.local/web' : 'spiffe://carnet.local/api',
    dnsNames: [],
    notBefore: new Date(NOW - 30_000),
    notAfter: new Date(NOW + 3600_000),
    authority: 'issuing-01020304',
    publicKeySha256: new Uint8Array(32).fill(1),
    certificateSha256: new Uint8Array(32).fill(2),
    certificate,
    node: 'node-1',
    instance: `container:${number}`,
    evidence: { method: 'unix', uid: 1000 },
    entryId: 'web',
    entryVersion: 1,
    requester: 'agent:node-1',
    recordedAtMicros: BigInt(NOW) * 1000n - BigInt(number),
    entry: {
      id: 'web',
      version: 1,
      spiffeId: 'spiffe://carnet.local/web',
      selectors: [parseSelector('unix:uid:1000')],
      dnsNames: [],
      ttlSeconds: null,
      hint: null,
      federatesWith: [],
    },
    revocation: null,
  };
}
