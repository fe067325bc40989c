import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { connect as connectPlain } from 'node:net';
import { connect, type DetailedPeerCertificate, type TLSSocket } from 'node:tls';
import {
  Client,
  credentials,
  type ServerUnaryCall,
  type ServiceError,
  type sendUnaryData,
} from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import { acceptCertificate, createAgentKey } from '../../../src/agent/link/agent-identity.ts';
import { startListener } from '../../../src/agent/server/listener.ts';
import { PeerCheck } from '../../../src/agent/server/peer.ts';
import { createIssue } from '../../../src/ca/issue.ts';
import type {
  AgentCertificate,
  IssueRequest,
  IssueResponse,
  RenewRequest,
} from '../../../src/gen/carnet/agent/v1/agent.ts';
import { carnetErrorOf, statusWithCode } from '../../../src/grpc/error-code.ts';
import { parseSpiffeId } from '../../../src/identity/spiffe-id.ts';
import { applyPlan } from '../../../src/rotation/apply.ts';
import { startOrResume } from '../../../src/rotation/operate.ts';
import { buildCsr } from '../../../src/x509/build-csr.ts';
import { encodePem } from '../../../src/x509/pem.ts';
import { createAuthorities, issueRequest } from '../../ca/authorities.ts';
import { log } from '../../db/fixtures.ts';
import { until } from '../../support/until.ts';
import { generateKeys } from '../../x509/keys.ts';
import { createWorld, join, type Replica, TestAgent, TRUST_DOMAIN } from './world.ts';

const world = await createWorld();
await world.grant({ id: 'web', spiffe_id: '/web', selectors: ['unix:uid:7'] });
const replica = await world.replica({ 'grpc-dns-name': 'carnet.example.svc' });
addWho(replica);
test.after.always(() => world.close());

/** A service beside ours that says who calls. */
function addWho({ link: { listener } }: Replica): void {
  const bytes = (value: Buffer): Buffer => value;
  const who = {
    path: '/test.Who/Who',
    requestStream: false,
    responseStream: false,
    requestSerialize: bytes,
    requestDeserialize: bytes,
    responseSerialize: bytes,
    responseDeserialize: bytes,
  } as const;
  listener.addService(
    { who },
    {
      who: (call: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => {
        try {
          const { certificate: _, ...caller } = { certificate: null, ...listener.callerOf(call) };
          answer(null, Buffer.from(JSON.stringify(caller)));
        } catch (error) {
          answer(statusWithCode(error));
        }
      },
    },
  );
}

interface Shown {
  readonly chain: readonly Uint8Array[];
  readonly privateKey: KeyObject;
}

/** A client of that service, which shows this certificate or none. */
function clientOf(t: ExecutionContext, shown: Shown | null): () => Promise<Record<string, unknown>> {
  const pem = (list: readonly Uint8Array[]): Buffer =>
    Buffer.from(list.map((der) => encodePem('CERTIFICATE', der)).join(''));
  const client = new Client(
    replica.address,
    credentials.createSsl(
      pem(replica.trust().roots),
      shown && Buffer.from(shown.privateKey.export({ format: 'pem', type: 'pkcs8' })),
      shown && pem(shown.chain),
      { checkServerIdentity: () => undefined },
    ),
    { 'grpc.use_local_subchannel_pool': 1, 'grpc.ssl_target_name_override': 'carnet' },
  );
  t.teardown(() => client.close());
  const bytes = (value: Buffer): Buffer => value;
  return () =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        '/test.Who/Who',
        bytes,
        bytes,
        Buffer.alloc(0),
        (error: ServiceError | null, value?: Buffer) =>
          error === null ? resolve(JSON.parse(String(value))) : reject(carnetErrorOf(error)),
      );
    });
}

/** A workload's certificate, issued through an agent. */
async function workload(t: ExecutionContext, instance: string): Promise<Shown & { serial: string }> {
  const agent = new TestAgent(replica, await join(world, replica));
  t.teardown(() => agent.close());
  await agent.begin();
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const wanted = {
    csr: buildCsr(keys),
    entryId: 'web',
    spiffeId: 'spiffe://carnet.local/web',
    instance,
    selectors: ['unix:uid:7'],
    evidence: '{}',
  };
  const { outcomes } = await agent.call<IssueRequest, IssueResponse>(agent.client.issue, {
    wanted: [wanted],
  });
  const outcome = outcomes[0]?.outcome;
  if (outcome?.$case !== 'issued') throw new Error(JSON.stringify(outcome));
  return { chain: outcome.value.chain, serial: outcome.value.serial, privateKey: keys.privateKey };
}

test('callers without a certificate, workloads and agents are told apart', async (t) => {
  t.deepEqual(await clientOf(t, null)(), { kind: 'none', address: '127.0.0.1' });
  const web = await workload(t, 'container:told-apart');
  t.like(await clientOf(t, web)(), {
    kind: 'svid',
    spiffeId: 'spiffe://carnet.local/web',
    serial: web.serial,
  });
  const agent = await join(world, replica, 'told-apart');
  t.like(await clientOf(t, agent)(), { kind: 'agent', node: 'told-apart' });
});

test('what is revoked ends for connections that stand, and for new ones', async (t) => {
  const web = await workload(t, 'container:revoked');
  const who = clientOf(t, web);
  t.like(await who(), { kind: 'svid' });
  await world.revokeInstance('container:revoked');
  const refusal = await until('the revocation is known', () =>
    who().then(
      () => null,
      (error: { code: string; message: string }) => error,
    ),
  );
  t.is(refusal.code, 'unauthenticated');
  t.regex(refusal.message, new RegExp(`${web.serial} is revoked`));
  await t.throwsAsync(clientOf(t, web)(), { code: 'unauthenticated' });
});

test("a certificate of another CA is refused, though it names our trust domain's agent", async (t) => {
  const { issuing } = await createAuthorities('ec-p256');
  const foreign = createIssue({
    activeAuthority: () => issuing.signing,
    recorder: { record: async () => undefined },
    clock: Date.now,
    defaultTtlSeconds: 3600,
    backdateSeconds: 30,
    publicUrl: null,
  });
  const keys = generateKeys('ec-p256');
  const request = issueRequest(keys, 'ec-p256', {
    spiffeId: parseSpiffeId('spiffe://carnet.test/carnet/agent/x'),
  });
  const { chain } = await foreign(request);
  const error = await t.throwsAsync(clientOf(t, { chain, privateKey: keys.privateKey })(), {
    code: 'unauthenticated',
  });
  t.regex(error?.message ?? '', /does not verify/);
});

test('an agent’s service is not for workloads, nor for callers without a certificate', async (t) => {
  const web = await workload(t, 'container:not-for');
  const asAgent = new TestAgent(replica, { ...(await join(world, replica)), ...web });
  t.teardown(() => asAgent.close());
  await t.throwsAsync(asAgent.begin(), { code: 'permission_denied' });
});

test('TLS 1.2 is refused, nothing is resumed, and the server shows its names and its root', async (t) => {
  const ca = replica.trust().roots.map((der) => encodePem('CERTIFICATE', der));
  const options = {
    port: replica.port,
    host: '127.0.0.1',
    ca,
    ALPNProtocols: ['h2'],
    checkServerIdentity: () => undefined,
  };
  const old = connect({ ...options, maxVersion: 'TLSv1.2' });
  await t.throwsAsync(once(old, 'secureConnect'));
  const first = connect(options);
  t.teardown(() => first.destroy());
  const session = once(first, 'session');
  await once(first, 'secureConnect');
  t.deepEqual(rootOf(first), Buffer.from(replica.trust().roots[0] ?? ''));
  t.is(
    first.getPeerX509Certificate()?.subjectAltName,
    'URI:spiffe://carnet.local/carnet/server, DNS:carnet.example.svc',
  );
  const second = connect({ ...options, session: (await session)[0] });
  t.teardown(() => second.destroy());
  await once(second, 'secureConnect');
  t.false(second.isSessionReused());
});

test('who speaks no TLS, or no HTTP/2, is disconnected, and the others stay', async (t) => {
  const who = clientOf(t, null);
  await who();
  const plain = connectPlain(replica.port, '127.0.0.1');
  plain.on('error', () => undefined);
  plain.resume().write('GET / HTTP/1.1\r\n\r\n');
  await new Promise((resolve) => plain.once('close', resolve));
  const http1 = connect({
    port: replica.port,
    host: '127.0.0.1',
    rejectUnauthorized: false,
    ALPNProtocols: ['http/1.1'],
  });
  http1.on('error', () => undefined);
  await new Promise((resolve) => http1.resume().once('close', resolve));
  t.like(await who(), { kind: 'none' });
});

test('an address that begins handshakes and says nothing keeps no other out', async (t) => {
  const { chain, privateKey } = await workload(t, 'container:shows-this');
  const der = privateKey.export({ format: 'der', type: 'pkcs8' });
  const limits = { connections: 16, handshakesOfOneAddress: 4 };
  const small = await startListener({
    ...{ host: '127.0.0.1', port: 0, trustDomain: TRUST_DOMAIN, log, limits },
    identity: { chain, roots: replica.trust().roots, privateKey: new Uint8Array(der) },
    check: () => new PeerCheck(replica.authorities.bundle(), replica.authorities.list(), Date.now),
  });
  t.teardown(() => small.close());
  const { port } = small.address;
  const silent = Array.from({ length: 20 }, () =>
    connectPlain({ port, host: '127.0.0.1', localAddress: '127.0.0.2' }).on('error', () => undefined),
  );
  t.teardown(() => {
    for (const socket of silent) socket.destroy();
  });
  await until('those too many are closed', () => {
    for (const socket of silent) socket.resume();
    return silent.filter(({ readyState }) => readyState === 'open').length === 4;
  });
  // More than the limit, one after the other: what is over is counted no more.
  for (let i = 0; i < 6; i++) {
    const socket = connect({ port, host: '127.0.0.1', rejectUnauthorized: false, ALPNProtocols: ['h2'] });
    await t.notThrowsAsync(once(socket, 'secureConnect'));
    socket.destroy();
  }
});

test.serial(
  'over a root rotation the server shows a new certificate, agents follow, and the old root ends',
  async (t) => {
    const rotating = await createWorld();
    t.teardown(() => rotating.close());
    const server = await rotating.replica();
    const [oldRoot] = server.trust().roots;
    const identity = await join(rotating, server, 'follows');
    const agent = new TestAgent(server, identity);
    t.teardown(() => agent.close());
    const first = await agent.begin();
    t.is(first.bundle?.x509Authorities.length, 1);

    await startOrResume(rotating.apply, {
      kind: 'root',
      handsFree: true,
      taint: false,
      crossSign: false,
      holdSeconds: 0,
      actor: 'operator:test',
      reason: 'test',
    });
    const advance = async (): Promise<void> => void (await applyPlan(rotating.apply, 'schedule:authorities'));
    const published = await until('both roots are published', async () => {
      await advance();
      const { roots } = server.trust();
      return roots.length === 2 && roots;
    });
    await until('the server shows a certificate of the new root', async () => {
      await advance();
      const socket = connect({
        port: server.port,
        host: '127.0.0.1',
        rejectUnauthorized: false,
        ALPNProtocols: ['h2'],
      });
      await once(socket, 'secureConnect');
      const shown = rootOf(socket);
      socket.destroy();
      return shown?.equals(published[1] ?? new Uint8Array()) === true;
    });
    const told = await until('the agent is told that its leaves are superseded', async () => {
      const response = await agent.next();
      return (response.superseded?.wave.length ?? 0) > 0 && response;
    });
    t.is(told.superseded?.wave.length, 1);

    // The connection of before goes on, and over it the agent gets a certificate of the new root.
    const key = createAgentKey();
    const answer = await agent.call<RenewRequest, AgentCertificate>(agent.client.renew, { csr: key.csr });
    const options = { trustDomain: TRUST_DOMAIN, roots: published.slice(1), now: Date.now() };
    const next = new TestAgent(server, await acceptCertificate(answer, key, options));
    t.teardown(() => next.close());
    await next.begin();
    await until('the old root is retired', async () => {
      await advance();
      return server.trust().roots.length === 1;
    });
    t.notDeepEqual(server.trust().roots[0], oldRoot);
    const late = new TestAgent(server, identity);
    t.teardown(() => late.close());
    await t.throwsAsync(late.begin(), { code: 'unauthenticated' });
    await t.notThrowsAsync(next.call(next.client.loadFleet, { socket: '/s' }));
  },
);

/** The last certificate that a server showed, DER. */
function rootOf(socket: TLSSocket): Buffer | undefined {
  let [last, next]: (DetailedPeerCertificate | undefined)[] = [undefined, socket.getPeerCertificate(true)];
  while (next?.raw !== undefined && next !== last) [last, next] = [next, next.issuerCertificate];
  return last?.raw;
}
