import { X509Certificate } from 'node:crypto';
import { promisify } from 'node:util';
import { ChannelCredentials, Metadata, Server, ServerCredentials, status } from '@grpc/grpc-js';
import test from 'ava';
import type { Attestation } from '../../src/attestation/attestation.ts';
import type { Issuance } from '../../src/audit/issuance.ts';
import { createIssue } from '../../src/ca/issue.ts';
import { CarnetError } from '../../src/errors.ts';
import {
  type IstioCertificateRequest,
  IstioCertificateServiceClient,
} from '../../src/gen/istio/v1/auth/ca.ts';
import { parseSelector, type Selector } from '../../src/identity/selector.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import type { ServiceAccount, TokenBearer } from '../../src/istio/create-certificate.ts';
import { addIstioCertificateService } from '../../src/istio/server.ts';
import { Shares } from '../../src/istio/shares.ts';
import { createLogger } from '../../src/log.ts';
import { EntryIndex } from '../../src/policy/entry-index.ts';
import { buildCsr } from '../../src/x509/build-csr.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { createAuthorities } from '../ca/authorities.ts';
import { generateKeys } from '../x509/keys.ts';

const TRUST_DOMAIN = parseTrustDomain('carnet.test');
const { root, issuing } = await createAuthorities('ec-p256');
const second = await createAuthorities('ec-p256');
const KEYS = generateKeys('ec-p256');
const CSR = encodePem('CERTIFICATE REQUEST', buildCsr(KEYS, 'ec-p256'));
const WEB = 'spiffe://carnet.test/ns/shop/sa/web';

const attestationOf = ({ namespace, name }: ServiceAccount, instance: string): Attestation => ({
  instance,
  selectors: [parseSelector(`k8s:ns:${namespace}`), parseSelector(`k8s:sa:${name}`)] as Selector[],
  evidence: { method: 'token' },
});

/** Who has which token, on which node. */
const BEARERS: Readonly<Record<string, TokenBearer>> = {
  'of-web': bearer('web', 'node-1'),
  'of-unknown': bearer('unknown', 'node-1'),
  'of-greedy': {
    ...bearer('web', 'node-1'),
    attestation: attestationOf({ namespace: 'shop', name: 'web' }, 'pod:greedy'),
  },
  'of-unnoted': {
    ...bearer('web', 'node-1'),
    attestation: attestationOf({ namespace: 'shop', name: 'web' }, 'pod:unnoted'),
  },
  'of-ztunnel': bearer('ztunnel', 'node-1'),
  'of-ztunnel-2': bearer('ztunnel', 'node-2'),
};

function bearer(name: string, node: string): TokenBearer {
  const serviceAccount = { namespace: 'shop', name };
  return { attestation: attestationOf(serviceAccount, `pod:${name}`), node, serviceAccount };
}

const recorded: Issuance[] = [];
let address = '192.0.2.1';
let vouched = 0;
/** Whoever shows this token is waited for. */
const asked = Promise.withResolvers<void>();
const handedOut: string[] = [];
const server = new Server();
addIstioCertificateService(server, {
  trustDomain: TRUST_DOMAIN,
  authenticate: async (token) => {
    if (token === 'slow') await asked.promise;
    const found = BEARERS[token];
    if (found === undefined) throw new CarnetError('unauthenticated', 'the token is nobody’s');
    return found;
  },
  runningOn: async (node, account) =>
    node === 'node-1' && account.name === 'web' ? attestationOf(account, `node:${node}:shop/web`) : undefined,
  nodeAgents: new Set(['shop/ztunnel']),
  grantsOf: ({ selectors }) =>
    new EntryIndex([
      {
        id: 'pods',
        version: 1,
        spiffeId: 'spiffe://carnet.test/ns/{k8s:ns}/sa/{k8s:sa}',
        selectors: [parseSelector('k8s:ns:shop'), parseSelector('k8s:sa:web')],
        dnsNames: ['web.shop.svc'],
        ttlSeconds: null,
        hint: null,
        federatesWith: [],
      },
    ]).authorize(selectors),
  issue: createIssue({
    activeAuthority: () => issuing.signing,
    recorder: { record: async (issuance) => void recorded.push(issuance) },
    clock: Date.now,
    defaultTtlSeconds: 3600,
    backdateSeconds: 30,
  }),
  bundle: () => ({
    trustDomain: TRUST_DOMAIN,
    sequence: 1,
    x509Authorities: [root.stored.certificate, second.root.stored.certificate],
    crls: [],
    x509Sequence: 1,
    jwtAuthorities: [],
  }),
  handOut: async ({ identity }, { sequence }, { instance, node }) => {
    if (instance === 'pod:unnoted') throw new CarnetError('unavailable', 'the database is away');
    handedOut.push(`${identity} ${sequence} ${instance} ${node}`);
  },
  shares: new Shares(Date.now),
  defaultTtlSeconds: 3600,
  maxCalls: 8,
  addressOf: () => address,
  vouchFor: () => void vouched++,
  log: createLogger('fatal'),
});
const port = await promisify(server.bindAsync.bind(server))(
  '127.0.0.1:0',
  ServerCredentials.createInsecure(),
);
const client = new IstioCertificateServiceClient(`127.0.0.1:${port}`, ChannelCredentials.createInsecure());
test.after.always(() => {
  client.close();
  server.forceShutdown();
});

function ask(token: string | null, changes: Partial<IstioCertificateRequest> = {}): Promise<string[]> {
  const metadata = new Metadata();
  if (token !== null) metadata.set('authorization', `Bearer ${token}`);
  const request = { csr: CSR, validityDuration: 86_400, metadata: undefined, ...changes };
  return new Promise((resolve, reject) =>
    client.createCertificate(request, metadata, (error, answer) =>
      error === null ? resolve(answer.certChain) : reject(error),
    ),
  );
}

test.serial(
  'a pod gets its service account’s identity: leaf, issuer, and last all the roots in one text',
  async (t) => {
    const chain = await ask('of-web');
    t.is(chain.length, 3);
    const [leaf = '', issuer = '', roots = ''] = chain;
    t.is(new X509Certificate(leaf).subjectAltName, `URI:${WEB}, DNS:web.shop.svc`);
    t.true(new X509Certificate(leaf).verify(new X509Certificate(issuer).publicKey));
    t.is(roots.match(/BEGIN CERTIFICATE/g)?.length, 2);
    t.true(new X509Certificate(issuer).verify(new X509Certificate(roots).publicKey));
    t.like(
      recorded.find(({ certificate }) => new X509Certificate(leaf).raw.equals(certificate)),
      { identity: WEB, node: 'node-1', instance: 'pod:web', requester: 'istio:shop/web', entryId: 'pods' },
    );
  },
);

test.serial('a day is asked for, and the entry’s hour is given; less is given as asked', async (t) => {
  for (const [asked, given] of [
    [86_400, 3600],
    [0, 3600],
    [600, 600],
  ]) {
    const [leaf = ''] = await ask('of-web', { validityDuration: asked ?? 0 });
    const seconds = (new X509Certificate(leaf).validToDate.getTime() - Date.now()) / 1000;
    t.true(seconds <= (given ?? 0) && seconds > (given ?? 0) - 60, `${asked}: ${seconds}`);
  }
});

test.serial('a node agent gets the identity of what runs on its node', async (t) => {
  const [leaf = ''] = await ask('of-ztunnel', { metadata: { ImpersonatedIdentity: WEB } });
  t.is(new X509Certificate(leaf).subjectAltName, `URI:${WEB}, DNS:web.shop.svc`);
  t.like(recorded.at(-1), { instance: 'node:node-1:shop/web', requester: 'istio:shop/ztunnel' });
});

test.serial('nothing is handed out that rotations could not be told of', async (t) => {
  await t.throwsAsync(ask('of-unnoted'), { message: /the database is away/ });
});

const REFUSED: readonly {
  title: string;
  token: string | null;
  changes?: Partial<IstioCertificateRequest>;
  code: status;
  says: RegExp;
}[] = [
  {
    title: 'without a token',
    token: null,
    code: status.UNAUTHENTICATED,
    says: /show a service account token/,
  },
  { title: 'with another’s token', token: 'stolen', code: status.UNAUTHENTICATED, says: /nobody/ },
  {
    title: 'whom no entry knows',
    token: 'of-unknown',
    code: status.PERMISSION_DENIED,
    says: /no registration entry/,
  },
  {
    title: 'that is no node agent, in another’s name',
    token: 'of-web',
    changes: { metadata: { ImpersonatedIdentity: WEB } },
    code: status.PERMISSION_DENIED,
    says: /no node agent/,
  },
  {
    title: 'on whose node the other does not run',
    token: 'of-ztunnel-2',
    changes: { metadata: { ImpersonatedIdentity: WEB } },
    code: status.PERMISSION_DENIED,
    says: /nothing runs on node node-2/,
  },
  {
    title: 'that asks for another trust domain’s identity',
    token: 'of-ztunnel',
    changes: { metadata: { ImpersonatedIdentity: 'spiffe://other.test/ns/shop/sa/web' } },
    code: status.PERMISSION_DENIED,
    says: /no service account's identity/,
  },
  {
    title: 'that asks for an identity with more to it',
    token: 'of-ztunnel',
    changes: { metadata: { ImpersonatedIdentity: `${WEB}/admin` } },
    code: status.PERMISSION_DENIED,
    says: /no service account's identity/,
  },
  {
    title: 'without a CSR',
    token: 'of-web',
    changes: { csr: '' },
    code: status.INVALID_ARGUMENT,
    says: /must hold one/,
  },
  {
    title: 'with two CSRs',
    token: 'of-web',
    changes: { csr: CSR + CSR },
    code: status.INVALID_ARGUMENT,
    says: /must hold one/,
  },
  {
    title: 'with a CSR beyond all measure',
    token: 'of-web',
    changes: { csr: CSR.repeat(100) },
    code: status.INVALID_ARGUMENT,
    says: /longer than/,
  },
];

for (const { title, token, changes, code, says } of REFUSED)
  test.serial(`refuses one ${title}, and records nothing`, async (t) => {
    const before = recorded.length;
    const error = await t.throwsAsync(ask(token, changes), { message: says });
    t.is((error as unknown as { code: status }).code, code);
    t.is(recorded.length, before);
  });

test.serial('a pod that asks without end has a share of its own, and the others theirs', async (t) => {
  const before = recorded.length;
  const code = async (): Promise<unknown> => ask('of-greedy').catch((error: { code: number }) => error.code);
  while ((await code()) !== status.RESOURCE_EXHAUSTED)
    t.true(recorded.length - before < 1000, 'no end to it');
  await t.notThrowsAsync(ask('of-web'));
  const byNodeAgent = { metadata: { ImpersonatedIdentity: WEB } };
  await t.notThrowsAsync(Promise.all(Array.from({ length: 6 }, () => ask('of-ztunnel', byNodeAgent))));
});

test.serial('whoever shows tokens of nobody’s leaves calls to other addresses', async (t) => {
  const before = vouched;
  address = '192.0.2.66';
  const slow = Array.from({ length: 7 }, () => ask('slow').catch(({ code }: { code: number }) => code));
  // The seventh of eight is one too many of this address.
  t.is(await Promise.race(slow), status.RESOURCE_EXHAUSTED);
  address = '192.0.2.1';
  await t.notThrowsAsync(ask('of-web'));
  t.is(vouched, before + 1, 'an accepted token vouches for its connection');
  asked.resolve();
  const codes = await Promise.all(slow);
  t.is(codes.filter((code) => code === status.UNAUTHENTICATED).length, 6);
  t.is(vouched, before + 1, 'and another does not');
});
