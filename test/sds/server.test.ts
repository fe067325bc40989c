import { status } from '@grpc/grpc-js';
import test from 'ava';
import type { DiscoveryRequest } from '../../src/gen/envoy/service/discovery/v3/discovery.ts';
import { parseSpiffeId } from '../../src/identity/spiffe-id.ts';
import { secretsOf, serve } from './harness.ts';
import { bundle, svid, TestHolder } from './holder.ts';

const NODE = {
  id: 'proxy-1',
  cluster: 'c',
  metadata: undefined,
  userAgentName: 'envoy',
  userAgentVersionType: undefined,
};

test('StreamSecrets: a secret, its acknowledgement, an update, a refusal, and the end', async (t) => {
  const web = new TestHolder();
  const { client, told, events } = await serve(t, { web });
  const stream = client().stream();
  stream.send({ node: NODE, resourceNames: ['default'] });
  const first = await stream.next();
  const { serial, notAfter } = web.current().svids[0] ?? svid();
  t.is(first.versionInfo, serial);
  t.is(secretsOf(first)[0]?.name, 'default');
  stream.send({ resourceNames: ['default'], versionInfo: serial, responseNonce: first.nonce });
  await told('acknowledged');

  web.set({ svids: [svid()] });
  const second = await stream.next();
  stream.send({
    resourceNames: ['default'],
    versionInfo: serial,
    responseNonce: second.nonce,
    errorDetail: { code: 13, message: 'Failed to load certificate chain' },
  });
  await told('rejected');
  stream.call.end();
  t.is((await stream.ended).code, status.OK);
  await told('closed');
  t.deepEqual(
    events.filter(([kind]) => kind !== 'open'),
    [
      ['named', { id: 'proxy-1', cluster: 'c', userAgent: 'envoy', adminAddress: null }],
      ['sent', 'default', serial, notAfter],
      ['acknowledged', 'default', serial],
      ['sent', 'default', second.versionInfo, notAfter],
      ['rejected', 'default', second.versionInfo, 'Failed to load certificate chain'],
      ['closed'],
    ],
  );
  t.is(web.listeners, 0);
});

test('DeltaSecrets: two secrets, acknowledgements, an update of one, a removal', async (t) => {
  const web = new TestHolder();
  const { client, told } = await serve(t, { web });
  const stream = client().delta();
  stream.send({ node: NODE, resourceNamesSubscribe: ['default', 'ROOTCA'] });
  for (const name of ['default', 'ROOTCA']) {
    const { nonce, resources } = await stream.next();
    t.deepEqual(
      resources.map((resource) => resource.name),
      [name],
    );
    stream.send({ responseNonce: nonce });
  }
  await told('acknowledged', 2);
  web.set({ bundle: bundle(2) });
  const update = await stream.next();
  t.regex(update.resources[0]?.version ?? '', /^2-/);
  web.set({ svids: [] });
  t.deepEqual((await stream.next()).removedResources, ['default']);
});

test('FetchSecrets: all that is named', async (t) => {
  const web = new TestHolder();
  const { client } = await serve(t, { web });
  const response = await client().fetch('default', 'ROOTCA');
  t.deepEqual(
    secretsOf(response).map(({ name }) => name),
    ['default', 'ROOTCA'],
  );
});

test('a caller gets no other caller’s identity by any method', async (t) => {
  const other = 'spiffe://carnet.local/api';
  const api = new TestHolder({ svids: [svid({ identity: parseSpiffeId(other) })] });
  const { client, told } = await serve(t, { web: new TestHolder({}, 'process:boot:2:2'), api });
  const stream = client('web').stream();
  stream.send({ resourceNames: [other] });
  const delta = client('web').delta();
  delta.send({ resourceNamesSubscribe: [other], initialResourceVersions: new Map() });
  t.deepEqual(await told('waiting', 2), [
    ['waiting', [other]],
    ['waiting', [other]],
  ]);
  t.deepEqual(await told('refused-names', 2), [
    ['refused-names', 1],
    ['refused-names', 1],
  ]);
  // What is sent next on each stream is something else: so nothing of the other was sent before.
  stream.send({ resourceNames: [other, 'default'] });
  t.deepEqual(
    secretsOf(await stream.next()).map(({ name }) => name),
    ['default'],
  );
  delta.send({ resourceNamesSubscribe: ['default'] });
  t.is((await delta.next()).resources[0]?.name, 'default');
  await t.throwsAsync(client('web').fetch(other), { code: status.PERMISSION_DENIED });
  await told('refused-names', 3);
  t.is(secretsOf(await client('api').fetch(other))[0]?.name, other);
});

test('a caller that is not known gets the status of the error, by all methods', async (t) => {
  const { client, service } = await serve(t, {});
  const expected = { code: status.PERMISSION_DENIED, details: 'the caller is not known' };
  t.like(await client('nobody').stream().ended, expected);
  t.like(await client('nobody').delta().ended, expected);
  await t.throwsAsync(client('nobody').fetch('default'), { message: /the caller is not known/ });
  t.is(service.open, 0);
});

test('a fetch waits for the first issuance, within its bound', async (t) => {
  const web = new TestHolder({ svids: [], complete: false, problem: 'the database is away' });
  const { client } = await serve(t, { web }, { limits: { fetchWaitMs: 20 } });
  await t.throwsAsync(client().fetch('default'), { message: /UNAVAILABLE: .*the database is away/ });
});

test('many changes within a turn of the event loop make one response, with the last', async (t) => {
  const web = new TestHolder();
  const { client, told, events } = await serve(t, { web });
  const stream = client().stream();
  stream.send({ resourceNames: ['default'] });
  const first = await stream.next();
  stream.send({ resourceNames: ['default'], versionInfo: first.versionInfo, responseNonce: first.nonce });
  await told('acknowledged');
  const last = svid();
  for (let i = 0; i < 100; i++) web.set({ svids: [svid()] });
  web.set({ svids: [last] });
  t.is((await stream.next()).versionInfo, last.serial);
  t.is(events.filter(([kind]) => kind === 'sent').length, 2);
});

for (const [what, request, code] of [
  [
    'another type of resource',
    { typeUrl: 'type.googleapis.com/envoy.config.cluster.v3.Cluster' },
    status.INVALID_ARGUMENT,
  ],
  [
    '10,000 resource names',
    { resourceNames: Array.from({ length: 10_000 }, (_, i) => `n${i}`) },
    status.INVALID_ARGUMENT,
  ],
  ['a request of 1 MiB', { resourceNames: ['x'.repeat(1 << 20)] }, status.RESOURCE_EXHAUSTED],
] satisfies [string, Partial<DiscoveryRequest>, status][])
  test(`refuses ${what}, and serves the next`, async (t) => {
    const web = new TestHolder();
    const { client } = await serve(t, { web });
    const stream = client().stream();
    stream.send(request);
    t.is((await stream.ended).code, code);
    t.is((await client().fetch('default')).resources.length, 1);
    t.is(web.listeners, 0);
  });

test('a stream that says nothing is ended', async (t) => {
  const web = new TestHolder();
  const { client } = await serve(t, { web }, { limits: { firstRequestMs: 10 } });
  t.is((await client().stream().ended).code, status.DEADLINE_EXCEEDED);
  t.is((await client().delta().ended).code, status.DEADLINE_EXCEEDED);
  t.is(web.listeners, 0);
});

test('an instance opens as many streams as it may; another is not hindered', async (t) => {
  const web = new TestHolder({}, 'process:boot:1:1');
  const api = new TestHolder({}, 'process:boot:2:2');
  const { client } = await serve(t, { web, api }, { limits: { streamsPerInstance: 2 } });
  const streams = [client().stream(), client().delta()];
  for (const stream of streams) stream.send({});
  streams[0]?.send({ resourceNames: ['default'] });
  await streams[0]?.next();
  t.like(await client().stream().ended, { code: status.RESOURCE_EXHAUSTED });
  await t.throwsAsync(client().fetch('default'), { message: /RESOURCE_EXHAUSTED/ });
  t.is((await client('api').fetch('default')).resources.length, 1);
  streams[0]?.call.cancel();
  streams[1]?.call.cancel();
});

test('closing ends every stream with UNAVAILABLE, and refuses the next', async (t) => {
  const web = new TestHolder();
  const { client, service, told } = await serve(t, { web });
  const streams = [client().stream(), client().stream()];
  for (const stream of streams) stream.send({ resourceNames: ['default'] });
  for (const stream of streams) await stream.next();
  t.is(service.open, 2);
  service.close();
  for (const stream of streams) t.is((await stream.ended).code, status.UNAVAILABLE);
  t.is((await client().stream().ended).code, status.UNAVAILABLE);
  await told('closed', 2);
  t.is(service.open, 0);
});
