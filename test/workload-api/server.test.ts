import { randomBytes } from 'node:crypto';
import { Metadata, status } from '@grpc/grpc-js';
import test from 'ava';
import type { JWTSVIDResponse, ValidateJWTSVIDResponse } from '../../src/gen/workload.ts';
import { parseSpiffeId, parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { bundle, svid, TestHolder } from '../sds/holder.ts';
import { until } from '../support/until.ts';
import { grant, header, Messages, serve, unary } from './harness.ts';

const OTHER = parseTrustDomain('other.example');
const API = parseSpiffeId('spiffe://carnet.local/api');

test('FetchX509SVID gives each identity with its chain, key and roots, CRLs and foreign bundles (Workload API §5.2.1)', async (t) => {
  const own = bundle(7, { crls: [randomBytes(200)] });
  const foreign = bundle(3, { trustDomain: OTHER });
  const [web, api] = [svid(), svid({ identity: API })];
  const holder = new TestHolder({ svids: [web, api], bundle: own, federated: [foreign] });
  const grants = [grant({ hint: 'external' }), grant({ spiffeId: API, hint: 'internal' })];
  const { client } = await serve(t, { holder, grants });
  const { svids, crl, federatedBundles } = await new Messages(client.fetchX509Svid({}, header())).next();
  const roots = Buffer.concat(own.x509Authorities);
  t.deepEqual(
    svids,
    [
      { ...web, hint: 'external' },
      { ...api, hint: 'internal' },
    ].map(({ identity, chain, privateKey, hint }) => ({
      spiffeId: identity,
      x509Svid: Buffer.concat(chain),
      x509SvidKey: Buffer.from(privateKey),
      bundle: roots,
      hint,
    })),
  );
  t.deepEqual(
    crl,
    own.crls.map((der) => Buffer.from(der)),
  );
  t.deepEqual([...federatedBundles], [['spiffe://other.example', Buffer.concat(foreign.x509Authorities)]]);
});

test('of two identities with one hint only the first has it (§5.2.1)', async (t) => {
  const holder = new TestHolder({ svids: [svid(), svid({ identity: API })] });
  const grants = [grant({ hint: 'same' }), grant({ spiffeId: API, hint: 'same' })];
  const { client } = await serve(t, { holder, grants });
  const { svids } = await new Messages(client.fetchX509Svid({}, header())).next();
  t.deepEqual(
    svids.map(({ hint }) => hint),
    ['same', ''],
  );
});

test('FetchX509Bundles and FetchJWTBundles give what verifies each kind, by trust domain (§5.2.2, §6.2.2)', async (t) => {
  const own = bundle(7);
  const foreign = bundle(3, { trustDomain: OTHER });
  const { client } = await serve(t, { holder: new TestHolder({ bundle: own, federated: [foreign] }) });
  const { bundles } = await new Messages(client.fetchX509Bundles({}, header())).next();
  t.deepEqual([...bundles.keys()].sort(), ['spiffe://carnet.local', 'spiffe://other.example']);
  t.deepEqual(bundles.get('spiffe://carnet.local'), Buffer.concat(own.x509Authorities));
  const jwt = (await new Messages(client.fetchJwtBundles({}, header())).next()).bundles;
  t.deepEqual([...jwt.keys()].sort(), ['spiffe://carnet.local', 'spiffe://other.example']);
  t.deepEqual(JSON.parse(Buffer.from(jwt.get('spiffe://carnet.local') ?? []).toString()), { keys: [] });
});

test('each change is a whole message, and what changes nothing of it is none (§4.3)', async (t) => {
  const { client, holder } = await serve(t);
  const messages = new Messages(client.fetchX509Svid({}, header()));
  const first = await messages.next();
  const next = svid();
  holder.set({ bundle: { ...holder.current().bundle, sequence: 2 } });
  holder.set({ svids: [next] });
  const second = await messages.next();
  t.is(second.svids.length, 1);
  t.deepEqual(second.svids[0]?.x509Svid, Buffer.concat(next.chain));
  t.deepEqual(second.svids[0]?.bundle, first.svids[0]?.bundle);
  holder.set({ bundle: bundle(3) });
  t.notDeepEqual((await messages.next()).svids[0]?.bundle, first.svids[0]?.bundle);
});

test('new JWT keys are told to who asks for them, and to nobody else', async (t) => {
  const { client, holder } = await serve(t);
  const [svids, keys] = [client.fetchX509Svid({}, header()), client.fetchJwtBundles({}, header())];
  const [x509, jwt] = [new Messages(svids), new Messages(keys)];
  await x509.next();
  await jwt.next();
  holder.set({ bundle: { ...holder.current().bundle, sequence: 2 } });
  await jwt.next();
  holder.set({ svids: [svid()] });
  t.is((await x509.next()).svids.length, 1);
});

for (const method of ['fetchX509Svid', 'fetchX509Bundles', 'fetchJwtBundles'] as const) {
  test(`${method}: a caller without an identity is denied, and one that loses its last is told so (§5.2.1)`, async (t) => {
    const nobody = await serve(t, { holder: new TestHolder({ svids: [] }) });
    t.is(await new Messages<unknown>(nobody.client[method]({}, header())).code(), status.PERMISSION_DENIED);
    const served = await serve(t);
    const messages = new Messages<unknown>(served.client[method]({}, header()));
    await messages.next();
    served.holder.set({ svids: [] });
    t.is(await messages.code(), status.PERMISSION_DENIED);
    t.is(served.observers, 0);
    t.is(served.holder.listeners, 0);
  });

  test(`${method}: without the security header, or with another value, nothing is said (Workload Endpoint §3)`, async (t) => {
    const { client } = await serve(t);
    for (const metadata of [new Metadata(), header('false'), header('True')])
      t.is(await new Messages<unknown>(client[method]({}, metadata)).code(), status.INVALID_ARGUMENT);
  });
}

test('a first message waits for identities that are being issued, and a stream for one that never comes is ended', async (t) => {
  const holder = new TestHolder({ svids: [], complete: false });
  const { client } = await serve(t, { holder });
  const messages = new Messages(client.fetchX509Svid({}, header()));
  const bundles = new Messages(client.fetchX509Bundles({}, header()));
  t.is((await bundles.next()).bundles.size, 1);
  const [web, api] = [svid(), svid({ identity: API })];
  holder.set({ svids: [web] });
  holder.set({ svids: [web, api], complete: true });
  t.is((await messages.next()).svids.length, 2);

  const never = await serve(t, {
    holder: new TestHolder({ svids: [], complete: false, problem: 'the database is away' }),
    limits: { firstMessageMs: 20 },
  });
  t.is(await new Messages(never.client.fetchX509Svid({}, header())).code(), status.UNAVAILABLE);
});

test('of several identities those that are issued are handed out when one cannot be', async (t) => {
  const holder = new TestHolder({ complete: false, problem: 'its profile is wrong' });
  const { client } = await serve(t, { holder });
  t.is((await new Messages(client.fetchX509Svid({}, header())).next()).svids.length, 1);
});

test('a client that does not read costs one message, and gets the latest when it does', async (t) => {
  const large = (): ReturnType<typeof svid> => svid({ chain: [randomBytes(200_000)] });
  const { client, holder, sent } = await serve(t, { holder: new TestHolder({ svids: [large()] }) });
  const stream = client.fetchX509Svid({}, header());
  await until('the first is sent', () => sent.length >= 2);
  stream.pause();
  let last = large();
  for (let i = 0; i < 100; i++) {
    last = large();
    holder.set({ svids: [last] });
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.true(sent.length < 100);
  const messages = new Messages(stream);
  for (;;) {
    const { svids } = await messages.next();
    if (Buffer.from(svids[0]?.x509Svid ?? []).equals(Buffer.concat(last.chain))) break;
  }
  t.pass();
});

test('streams of X.509 trust report what rotation counts: each certificate by serial, the bundle by its sequence', async (t) => {
  const { client, holder, sent } = await serve(t, { holder: new TestHolder({ bundle: bundle(7) }) });
  const [own] = holder.current().svids;
  await new Messages(client.fetchX509Svid({}, header())).next();
  t.deepEqual(sent, [`x509 ${own?.identity} ${own?.serial}`, 'x509 spiffe://carnet.local 7']);
  sent.length = 0;
  await new Messages(client.fetchJwtBundles({}, header())).next();
  t.deepEqual(sent, ['jwt spiffe://carnet.local (JWT) 7']);
});

test('a stream that its client ends is forgotten, and so is each call', async (t) => {
  const served = await serve(t, { grants: [grant()] });
  const stream = served.client.fetchX509Svid({}, header());
  const messages = new Messages(stream);
  await messages.next();
  t.is(served.open, 1);
  stream.cancel();
  await until('it is forgotten', () => served.open === 0 && served.observers === 0);
  t.is(served.holder.listeners, 0);
  await fetchJwt(served, ['a']);
  t.is(served.open, 0);
});

test('an instance has no more streams than it may, and others are not disturbed', async (t) => {
  const { client } = await serve(t, { limits: { streamsPerInstance: 2 } });
  const two = [1, 2].map(() => new Messages(client.fetchX509Bundles({}, header())));
  for (const messages of two) await messages.next();
  t.is(await new Messages(client.fetchX509Bundles({}, header())).code(), status.RESOURCE_EXHAUSTED);
});

test('an agent that stops says so to each stream, and to who comes later', async (t) => {
  const { client, close } = await serve(t);
  const messages = new Messages(client.fetchX509Svid({}, header()));
  await messages.next();
  close();
  t.is(await messages.code(), status.UNAVAILABLE);
  t.is(await new Messages(client.fetchX509Svid({}, header())).code(), status.UNAVAILABLE);
});

type Client = Pick<Awaited<ReturnType<typeof serve>>, 'client'>;

function fetchJwt({ client }: Client, audience: string[], spiffeId = '', metadata = header()) {
  return unary<JWTSVIDResponse>((done) => client.fetchJwtsvid({ audience, spiffeId }, metadata, done));
}

test('FetchJWTSVID gives a token for each identity, or for the one that is asked for (§6.2.1)', async (t) => {
  const served = await serve(t, { grants: [grant({ hint: 'external' }), grant({ spiffeId: API })] });
  const { svids } = await fetchJwt(served, ['reports']);
  t.deepEqual(svids, [
    { spiffeId: 'spiffe://carnet.local/web', svid: 'spiffe://carnet.local/web reports', hint: 'external' },
    { spiffeId: API, svid: `${API} reports`, hint: '' },
  ]);
  t.deepEqual(
    (await fetchJwt(served, ['a', 'b'], API)).svids.map(({ svid }) => svid),
    [`${API} a b`],
  );
});

for (const [what, audience, spiffeId, code] of [
  ['no audience', [], '', status.INVALID_ARGUMENT],
  ['an empty audience', [''], '', status.INVALID_ARGUMENT],
  ['more audiences than may be', [...'abcdefghi'], '', status.INVALID_ARGUMENT],
  ['an audience that is too long', ['a'.repeat(513)], '', status.INVALID_ARGUMENT],
  ['an identity that is none', ['a'], 'web', status.INVALID_ARGUMENT],
  ["somebody else's identity", ['a'], 'spiffe://carnet.local/other', status.PERMISSION_DENIED],
] as const)
  test(`FetchJWTSVID refuses ${what}`, async (t) => {
    const served = await serve(t, { grants: [grant()] });
    await t.throwsAsync(fetchJwt(served, [...audience], spiffeId), { code });
  });

test('FetchJWTSVID refuses who has no identity, who has too many for one call, and who sends no header', async (t) => {
  await t.throwsAsync(fetchJwt(await serve(t), ['a']), { code: status.PERMISSION_DENIED });
  const many = await serve(t, { grants: [grant(), grant({ spiffeId: API })], limits: { tokens: 1 } });
  await t.throwsAsync(fetchJwt(many, ['a']), { code: status.RESOURCE_EXHAUSTED });
  await t.notThrowsAsync(fetchJwt(many, ['a'], API));
  await t.throwsAsync(fetchJwt(many, ['a'], API, new Metadata()), { code: status.INVALID_ARGUMENT });
});

test('ValidateJWTSVID refuses who has no identity, no audience, no token and what is no token', async (t) => {
  const served = await serve(t, { grants: [grant()] });
  const validate = (audience: string, token: string) =>
    unary<ValidateJWTSVIDResponse>((done) =>
      served.client.validateJwtsvid({ audience, svid: token }, header(), done),
    );
  for (const [audience, token] of [
    ['', 'a.b.c'],
    ['a', ''],
    ['a', 'a.b.c'],
  ] as const)
    await t.throwsAsync(validate(audience, token), { code: status.INVALID_ARGUMENT });
  served.grants = [];
  await t.throwsAsync(validate('a', 'a.b.c'), { code: status.PERMISSION_DENIED });
});

test('a request that is no message is the client’s fault, and what is not served is unimplemented (§7)', async (t) => {
  const { client } = await serve(t, { grants: [grant()] });
  const raw = (path: string, bytes: Buffer): Promise<unknown> =>
    unary((done) =>
      client.makeUnaryRequest(
        path,
        (value: Buffer) => value,
        (value: Buffer) => value,
        bytes,
        header(),
        (error, response) => done(error, response),
      ),
    );
  await t.throwsAsync(raw('/SpiffeWorkloadAPI/FetchJWTSVID', Buffer.from([0x0a, 0xff])), {
    code: status.INVALID_ARGUMENT,
  });
  await t.throwsAsync(raw('/SpiffeWorkloadAPI/FetchWITSVID', Buffer.alloc(0)), {
    code: status.UNIMPLEMENTED,
  });
});
