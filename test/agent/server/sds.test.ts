import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { connect } from 'node:tls';
import { type ServiceError, status } from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import { createIssue } from '../../../src/ca/issue.ts';
import { identityOf } from '../../../src/cli/identity.ts';
import type { IssueRequest, IssueResponse } from '../../../src/gen/carnet/agent/v1/agent.ts';
import { buildCsr } from '../../../src/x509/build-csr.ts';
import { encodePem } from '../../../src/x509/pem.ts';
import { createAuthorities, issueRequest } from '../../ca/authorities.ts';
import { garbage, lateCancels, neverReaders, rapidResets, tenThousandNames } from '../../support/attacks.ts';
import { RemoteClient, type Shown } from '../../support/svid-keeper.ts';
import { until } from '../../support/until.ts';
import { generateKeys } from '../../x509/keys.ts';
import { createWorld, join, TestAgent } from './world.ts';

const WEB = 'spiffe://carnet.local/web';
const world = await createWorld();
await world.grant({ id: 'first', spiffe_id: '/web', selectors: ['unix:uid:7'] });
await world.grant({ id: 'brief', spiffe_id: '/web', selectors: ['unix:uid:8'], ttl: '10s' });
await world.grant({ id: 'web', spiffe_id: '/web', selectors: [`spiffe:id:${WEB}`] });
const replica = await world.replica({ 'sds-on-grpc': 'true' });
test.after.always(() => world.close());

/** The same as PEM, with our roots. */
function shown(svid: { chain: readonly Uint8Array[]; privateKey: KeyObject } | null): Shown {
  const pem = (list: readonly Uint8Array[]): string =>
    list.map((der) => encodePem('CERTIFICATE', der)).join('');
  const roots = pem(replica.trust().roots);
  if (svid === null) return { roots };
  const key = svid.privateKey.export({ format: 'pem', type: 'pkcs8' }) as string;
  return { roots, svid: { chain: pem(svid.chain), key } };
}

/** A workload's certificate, issued through an agent; by uid 8 it lives for 10 s. */
async function workload(t: ExecutionContext, instance: string, uid = 7): Promise<Shown & { serial: string }> {
  const agent = new TestAgent(replica, await join(world, replica));
  t.teardown(() => agent.close());
  await agent.begin();
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const wanted = {
    csr: buildCsr(keys),
    entryId: uid === 7 ? 'first' : 'brief',
    spiffeId: WEB,
    instance,
    selectors: [`unix:uid:${uid}`],
    evidence: '{}',
  };
  const { outcomes } = await agent.call<IssueRequest, IssueResponse>(agent.client.issue, {
    wanted: [wanted],
  });
  const outcome = outcomes[0]?.outcome;
  if (outcome?.$case !== 'issued') throw new Error(JSON.stringify(outcome));
  return {
    ...shown({ chain: outcome.value.chain, privateKey: keys.privateKey }),
    serial: outcome.value.serial,
  };
}

function client(t: ExecutionContext, shows: Shown): RemoteClient {
  const made = new RemoteClient(replica.address, shows);
  t.teardown(() => made.close());
  return made;
}

function issuancesBy(requester: string): Promise<{ instance: string; evidence: Record<string, unknown> }[]> {
  return world.database.query('SELECT instance, evidence FROM issuance WHERE requester = $1', [requester]);
}

test('a workload that shows its certificate gets what the entries grant it, as the same instance', async (t) => {
  const web = await workload(t, 'container:same');
  const identity = identityOf(await client(t, web).fetch('default', 'ROOTCA'));
  t.truthy(identity);
  const [made] = (await issuancesBy('sds:replica')).filter(({ instance }) => instance === 'container:same');
  t.like(made?.evidence, { method: 'mtls', serial: web.serial, spiffe_id: WEB, address: '127.0.0.1' });
  const renewed = { roots: web.roots, svid: { chain: identity?.svidPem ?? '', key: identity?.keyPem ?? '' } };
  const again = identityOf(await client(t, renewed).fetch('default', 'ROOTCA'));
  t.is(again?.svidPem, identity?.svidPem);
});

test.serial(
  'nobody gets anything who is not a workload with an instance, and nothing is recorded of him',
  async (t) => {
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
    const { chain } = await foreign(issueRequest(keys, 'ec-p256'));
    const agent = await join(world, replica);
    const token = (claims: object): string =>
      `${[{ alg: 'none' }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')}.x`;
    const web = await workload(t, 'container:with-two');
    const before = await world.database.query('SELECT FROM issuance');
    for (const [shows, code, says] of [
      [shown(null), status.UNAUTHENTICATED, /show who you are/],
      [shown({ chain, privateKey: keys.privateKey }), status.UNAUTHENTICATED, /does not verify/],
      [shown(agent), status.PERMISSION_DENIED, /one of Carnet's own parts/],
      [{ ...web, token: token({ exp: 1 }) }, status.UNAUTHENTICATED, /tokens are not taken here/],
      [{ ...web, token: 'two words' }, status.UNAUTHENTICATED, /one bearer token/],
    ] as const) {
      const error = (await t.throwsAsync(
        client(t, shows).fetch('default'),
        undefined,
        String(says),
      )) as ServiceError;
      t.is(error.code, code, error.details);
      t.regex(error.details, says);
    }
    t.is((await world.database.query('SELECT FROM issuance')).length, before.length);
  },
);

test('an agent has no word for a selector that its caller must prove by a certificate', async (t) => {
  const agent = new TestAgent(replica, await join(world, replica));
  t.teardown(() => agent.close());
  await agent.begin();
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const wanted = {
    csr: buildCsr(keys),
    entryId: 'web',
    spiffeId: WEB,
    instance: 'container:liar',
    selectors: [`spiffe:id:${WEB}`],
    evidence: '{}',
  };
  const { outcomes } = await agent.call<IssueRequest, IssueResponse>(agent.client.issue, {
    wanted: [wanted],
  });
  t.like(outcomes[0]?.outcome, { $case: 'refused', value: { code: 'permission_denied' } });
});

test('what is revoked ends its streams, is let in no more, and gets no other certificate', async (t) => {
  const web = await workload(t, 'container:revoked-remote');
  const one = client(t, web);
  const got = Promise.withResolvers<void>();
  const stream = one.stream(['default'], () => got.resolve());
  await got.promise;
  t.truthy(replica.sds?.proxies.list().find(({ instance }) => instance === 'container:revoked-remote'));
  await world.revokeInstance('container:revoked-remote');
  const { code, details } = await stream.ended;
  t.is(code, status.UNAUTHENTICATED);
  t.regex(details, new RegExp(`${web.serial} is revoked`));
  const error = (await t.throwsAsync(client(t, web).fetch('default'))) as ServiceError;
  t.is(error.code, status.UNAUTHENTICATED);
  await until(
    'its certificates are given up',
    () => replica.sds?.instances.heldBy('container:revoked-remote').length === 0,
  );
  const made = (await issuancesBy('sds:replica')).filter(
    ({ instance }) => instance === 'container:revoked-remote',
  );
  t.is(made.length, 1);
});

test('a certificate that ends ends its streams, and the connection, so that a newer one can be shown', async (t) => {
  const brief = await workload(t, 'container:brief', 8);
  const one = client(t, brief);
  const stream = one.stream(['ROOTCA'], () => undefined);
  const closed = new Promise<void>((resolve) => replica.link.listener.onClosed(() => resolve()));
  const { code, details } = await stream.ended;
  t.is(code, status.UNAUTHENTICATED);
  t.regex(details, /it expired at/);
  await closed;
});

test('one workload has 200 calls at once, by whatever connections', async (t) => {
  const web = await workload(t, 'container:many');
  const clients = Array.from({ length: 3 }, () => client(t, web));
  let refused = 0;
  const opened: { cancel(): void; ended: Promise<ServiceError> }[] = [];
  let served = 0;
  for (let i = 0; i < 201; i++) {
    const stream = (clients[i % clients.length] as RemoteClient).stream(['ROOTCA'], () => served++);
    void stream.ended.then(({ code }) => code === status.RESOURCE_EXHAUSTED && refused++);
    opened.push(stream);
  }
  await until('all are answered', () => served + refused >= 201);
  t.is(refused, 1);
  for (const stream of opened) stream.cancel();
  await until(
    'their places are free',
    () => replica.sds?.proxies.list().every(({ instance }) => instance !== 'container:many') ?? false,
  );
});

/** A Unix socket whose connections go on to the server, each by TLS as this workload. */
async function relayAs(t: ExecutionContext, { roots, svid }: Shown): Promise<string> {
  const directory = await mkdtemp(joinPath(tmpdir(), 'carnet-relay-'));
  const path = joinPath(directory, 'relay.sock');
  const relay = createServer((socket) => {
    const onward = connect({
      ...{ host: '127.0.0.1', port: replica.port, ca: roots, ALPNProtocols: ['h2'] },
      ...{ cert: svid?.chain, key: svid?.key, checkServerIdentity: () => undefined },
    });
    for (const [from, to] of [
      [socket, onward],
      [onward, socket],
    ] as const)
      from
        .on('error', () => undefined)
        .on('close', () => to.destroy())
        .pipe(to);
  }).listen(path);
  await once(relay, 'listening');
  t.teardown(async () => {
    relay.close();
    await rm(directory, { recursive: true });
  });
  return path;
}

test.serial('hostile workloads: others are served all the while, and nothing of them is left', async (t) => {
  t.timeout(120_000);
  const hostile = await relayAs(t, await workload(t, 'container:hostile'));
  const good = await workload(t, 'container:good');
  const isServed = async (): Promise<void> => {
    const one = client(t, good);
    t.truthy(identityOf(await one.fetch('default', 'ROOTCA')));
    one.close();
  };
  const readers = await neverReaders(hostile, 'ROOTCA', 10);
  for (const attack of [
    () => garbage(hostile),
    () => tenThousandNames(hostile),
    () => rapidResets(hostile, 2000),
    () => lateCancels(hostile, 200),
  ])
    await Promise.all([attack(), isServed()]);
  await readers.end();
  await isServed();
  await until('nothing of it is left', () =>
    (replica.sds?.proxies.list() ?? []).every(({ instance }) => instance !== 'container:hostile'),
  );
});
