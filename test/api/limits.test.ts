import { request } from 'node:http';
import { connect } from 'node:net';
import test from 'ava';
import { callerOf, RateLimit } from '../../src/api/rate-limit.ts';
import { type Api, call, ENTRY, NOW, startApi } from './harness.ts';

const MIB = 1024 * 1024;

for (const [path, maxBytes] of [
  ['/v1/entries', MIB],
  ['/v1/tokens', MIB],
  ['/v1/entries:apply', 8 * MIB],
] as const)
  test(`${path} refuses a body of more than ${maxBytes / MIB} MiB, announced or not, and goes on`, async (t) => {
    const api = await startApi(t);
    const body = JSON.stringify({ x: 'x'.repeat(maxBytes) });
    for (const chunked of [false, true]) {
      const { status, json } = await send(api, path, body, chunked);
      t.is(status, 413, chunked ? 'chunked' : 'with a length');
      t.is(json.code, 'too_large');
    }
    t.is((await call(api, 'GET', '/v1/entries')).status, 200);
    t.deepEqual(api.entries.changes, []);
  });

test('a body of just under 8 MiB is applied', async (t) => {
  const api = await startApi(t);
  const entries = Array.from({ length: 5000 }, (_, i) => ({
    ...ENTRY,
    id: `e${i}`,
    selectors: [`unix:path:/${'x'.repeat(900)}`, ...ENTRY.selectors],
  }));
  const { status, json } = await call(api, 'POST', '/v1/entries:apply', { body: { entries } });
  t.is(status, 200);
  t.is(json.created.length, 5000);
});

test('a body that is cut off is no request, and no error of ours', async (t) => {
  const api = await startApi(t);
  const socket = connect(Number(new URL(api.url).port), '127.0.0.1');
  const head = `POST /v1/entries HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n`;
  socket.write(`${head}Authorization: Bearer ${api.bearers.admin}\r\nContent-Length: 100\r\n\r\n{"id":`);
  socket.end();
  await new Promise((resolve) => socket.once('close', resolve).resume());
  t.deepEqual(api.entries.changes, []);
  t.false(
    api.logged.some((line) => line.includes('"level":50')),
    api.logged.join(''),
  );
});

for (const [title, headers, body] of [
  ['another media type', { 'content-type': 'text/plain' }, JSON.stringify(ENTRY)],
  [
    'a form, which a page from elsewhere could send',
    { 'content-type': 'application/x-www-form-urlencoded' },
    'id=web',
  ],
  ['a compressed body', { 'content-encoding': 'gzip' }, JSON.stringify(ENTRY)],
  ['text that is not JSON', {}, '{"id": web}'],
  ['nothing', {}, ''],
  ['bytes that are not UTF-8', {}, Buffer.from([0x22, 0xff, 0x22])],
] as const)
  test(`refuses ${title}`, async (t) => {
    const api = await startApi(t);
    const response = await fetch(`${api.url}/v1/entries`, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...headers,
        authorization: `Bearer ${api.bearers.admin}`,
      },
      body: Buffer.from(body),
    });
    t.is(response.status, 400);
    t.like(await response.json(), { code: 'invalid_argument' });
    t.deepEqual(api.entries.changes, []);
  });

test('headers of more than 16 KiB are refused, and the server goes on', async (t) => {
  const api = await startApi(t);
  t.is((await call(api, 'GET', '/healthz', { headers: { 'x-flood': 'x'.repeat(20_000) } })).status, 431);
  t.is((await call(api, 'GET', '/healthz')).status, 200);
});

test('a token that asks too often is told when to come back, and no other suffers', async (t) => {
  const api = await startApi(t);
  const statuses = new Map<number, number>();
  let retryAfter: string | null = null;
  for (let i = 0; i < 1001; i++) {
    const { status, headers } = await call(api, 'GET', '/v1/proxies', { as: 'auditor' });
    statuses.set(status, (statuses.get(status) ?? 0) + 1);
    retryAfter = headers.get('retry-after');
  }
  t.deepEqual(
    [...statuses],
    [
      [200, 1000],
      [429, 1],
    ],
  );
  t.is(retryAfter, '1');
  t.is((await call(api, 'GET', '/v1/proxies', { as: 'admin' })).status, 200);
  api.time.now += 1000;
  t.is((await call(api, 'GET', '/v1/proxies', { as: 'auditor' })).status, 200);
});

test('an address that asks too often is refused before its token is looked at, but never its probes', async (t) => {
  const api = await startApi(t);
  let answer = await call(api, 'GET', '/v1/bundle', { as: 'none' });
  for (let i = 0; i < 2000; i++) answer = await call(api, 'GET', '/v1/bundle', { as: 'none' });
  t.is(answer.status, 429);
  t.is(answer.json.code, 'rate_limited');
  const looked = api.tokens.finds;
  t.is((await call(api, 'GET', '/v1/entries')).status, 429);
  t.is(api.tokens.finds, looked);
  t.is((await call(api, 'GET', '/healthz')).status, 200);
  t.is((await call(api, 'GET', '/readyz')).status, 200);
});

test('a rate limit gives a burst, then its rate, and survives a clock that jumps back', (t) => {
  let now = NOW;
  const limit = new RateLimit({ perSecond: 2, burst: 3 }, () => now);
  const take = () => limit.take('a');
  t.deepEqual([take(), take(), take(), take()], [0, 0, 0, 1]);
  now += 500;
  t.deepEqual([take(), take()], [0, 1]);
  now -= 3600_000;
  t.is(take(), 1);
  now += 1000;
  t.deepEqual([take(), take(), take()], [0, 0, 1]);
});

test('a rate limit remembers a bounded number of callers', (t) => {
  const limit = new RateLimit({ perSecond: 1, burst: 1 }, () => NOW);
  for (let i = 0; i < 25_000; i++) limit.take(String(i));
  t.is(limit.size, 10_000);
  t.is(limit.take('24999'), 1);
});

for (const [address, caller] of [
  ['192.0.2.7', '192.0.2.7'],
  ['::ffff:192.0.2.7', '192.0.2.7'],
  ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
  ['2001:db8:1:2:ffff::1', '2001:db8:1:2'],
  ['2001:db8::1', '2001:db8:0:0'],
  ['fe80::1%eth0', 'fe80:0:0:0'],
  ['::1', '0:0:0:0'],
] as const)
  test(`the caller at ${address} is counted as ${caller}`, (t) => {
    t.is(callerOf(address), caller);
  });

function send(api: Api, path: string, body: string, chunked: boolean) {
  return new Promise<{ status: number | undefined; json: { code: string } }>((resolve, reject) => {
    const outgoing = request(`${api.url}${path}`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${api.bearers.admin}`,
        'content-type': 'application/json',
        ...(chunked ? {} : { 'content-length': Buffer.byteLength(body) }),
      },
    });
    outgoing.on('error', reject).on('response', async (response) => {
      const chunks = await response.toArray();
      resolve({ status: response.statusCode, json: JSON.parse(Buffer.concat(chunks).toString()) });
    });
    outgoing.write(body.slice(0, 1000));
    outgoing.end(body.slice(1000));
  });
}
