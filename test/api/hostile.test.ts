import test from 'ava';
import fc from 'fast-check';
import { isLocalHost, isLoopback } from '../../src/api/local-host.ts';
import { call, ENTRY, makeCertificate, makeIssuance, startApi } from './harness.ts';

const LISTS = ['/v1/entries', '/v1/issuances', '/v1/proxies', '/v1/tokens', '/v1/authorities'];
const PARAMETERS = [
  'identity',
  'instance',
  'serial',
  'node',
  'entry',
  'authority',
  'from',
  'to',
  'limit',
  'cursor',
  '__proto__',
];

const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom(
    '',
    '0',
    '-1',
    '1e9',
    '1001',
    '\0',
    '%',
    '2026-03-01T00:00:00Z',
    '0000-01-01T00:00:00Z',
    '/web',
  ),
);

test('no query makes the server fail', async (t) => {
  const api = await startApi(t);
  api.issuances.issuances.push(makeIssuance(1, await makeCertificate('leaf')));
  const parameters = fc.array(fc.tuple(fc.oneof(fc.constantFrom(...PARAMETERS), anyText), anyText), {
    maxLength: 4,
  });
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...LISTS), parameters, async (path, pairs) => {
      const query = new URLSearchParams();
      for (const [name, value] of pairs) query.append(name.toWellFormed(), value.toWellFormed());
      const { status, json } = await call(api, 'GET', `${path}?${query}`);
      return status === 200 || (status === 400 && typeof json.code === 'string');
    }),
    { numRuns: 400, seed: 1 },
  );
  t.pass();
});

test('no raw target makes the server fail', async (t) => {
  const api = await startApi(t);
  await fc.assert(
    fc.asyncProperty(
      fc.string({ unit: fc.constantFrom(...'%/?&=:{}.a0\\;+#'), maxLength: 30 }),
      async (text) => {
        const { status } = await call(api, 'GET', `/v1/issuances/${text}`);
        return status < 500;
      },
    ),
    { numRuns: 300, seed: 2 },
  );
  t.pass();
});

test('no body makes the server fail, and none that is refused changes anything', async (t) => {
  const api = await startApi(t);
  const field = fc.oneof(anyText, fc.jsonValue({ maxDepth: 3 }));
  const like = fc.record(
    { id: field, spiffe_id: field, selectors: field, dns_names: field, ttl: field, name: field, role: field },
    { requiredKeys: [] },
  );
  const body = fc.oneof(
    fc.jsonValue({ maxDepth: 4 }),
    like,
    fc.record({ entries: fc.array(fc.oneof(like, fc.constant(ENTRY)), { maxLength: 3 }), prune: field }),
  );
  const target = fc.constantFrom('/v1/entries', '/v1/entries:apply', '/v1/tokens');
  await fc.assert(
    fc.asyncProperty(target, body, async (path, value) => {
      const before = api.entries.changes.length + api.tokens.changes.length;
      const { status } = await call(api, 'POST', path, { body: JSON.stringify(value) });
      const after = api.entries.changes.length + api.tokens.changes.length;
      return status < 300 || (status < 500 && after === before);
    }),
    { numRuns: 400, seed: 3 },
  );
  t.pass();
});

for (const [title, path, named] of [
  ['an unknown parameter', '/v1/issuances?identiti=/web', /there is no identiti/],
  ['one that only another list has', '/v1/entries?identity=/web', /there is no identity/],
  ['any where none is known', '/v1/authorities?limit=1', /there is no limit/],
  ['a parameter given twice', '/v1/issuances?node=a&node=b', /"node" twice/],
  ['a limit of 0', '/v1/issuances?limit=0', /limit: must be a whole number from 1 to 1000, not "0"/],
  ['a limit over 1000', '/v1/proxies?limit=1001', /limit: must be .*, not "1001"/],
  ['a limit in another notation', '/v1/tokens?limit=1e2', /limit: must be .*, not "1e2"/],
  ['a time without a zone', '/v1/issuances?from=2026-03-01T00:00:00', /from: must be an RFC 3339 time/],
  ['a time after 9999', '/v1/issuances?to=9999-12-31T23:59:59-23:59', /to: must not be after 9999/],
  ['a time before 1970', '/v1/issuances?to=0000-01-01T00:00:00Z', /to: must not be before 1970/],
  ['a serial that is not hex', '/v1/issuances/xyz', /serial: must be the hex digits/],
  ['a filter with a NUL', '/v1/issuances?node=%00', /node: must be 1 to 2048 characters/],
  ['an empty filter', '/v1/issuances?node=', /node: must be 1 to 2048 characters/],
] as const)
  test(`refuses ${title}, naming it`, async (t) => {
    const api = await startApi(t);
    const { status, json } = await call(api, 'GET', path);
    t.is(status, 400);
    t.is(json.code, 'invalid_argument');
    t.regex(json.detail, named);
  });

for (const [title, path, body, named] of [
  ['an unknown field', '/v1/entries', { ...ENTRY, selector: 'x' }, /there is no selector/],
  [
    'one inside of a list',
    '/v1/entries:apply',
    { entries: [ENTRY, { ...ENTRY, a: 1 }] },
    /there is no entries\[1\]\.a/,
  ],
  [
    '__proto__',
    '/v1/entries',
    '{"__proto__":{"id":"x"},"spiffe_id":"/x","selectors":[]}',
    /there is no __proto__/,
  ],
  ['a missing field', '/v1/entries', { id: 'web' }, /spiffe_id is missing; selectors is missing/],
  ['a field of another type', '/v1/entries', { ...ENTRY, ttl: 60 }, /ttl: .*, not 60/],
  ['a list in place of an object', '/v1/entries', [], /expected object/],
  [
    'an unknown role',
    '/v1/tokens',
    { name: 'x', role: 'boss' },
    /role: must be one of admin, operator, auditor, break-glass, not "boss"/,
  ],
  ['a ttl of no time', '/v1/tokens', { name: 'x', role: 'admin', ttl: '1s' }, /ttl: must be at least 60s/],
  ['a ttl of no sense', '/v1/tokens', { name: 'x', role: 'admin', ttl: '1 h' }, /ttl: must be a duration/],
  ['a name with a slash', '/v1/tokens', { name: '../x', role: 'admin' }, /name: must be letters/],
] as const)
  test(`refuses ${title} in a body, naming it`, async (t) => {
    const api = await startApi(t);
    const { status, json } = await call(api, 'POST', path, { body });
    t.is(status, 400);
    t.is(json.code, 'invalid_argument');
    t.regex(json.detail, named);
    t.deepEqual([...api.entries.changes, ...api.tokens.changes], []);
  });

test('a path that is not there is not found; a method that it does not take is named with those that it does', async (t) => {
  const api = await startApi(t);
  const missing = await call(api, 'GET', '/v1/nothing');
  t.is(missing.status, 404);
  t.is(missing.json.code, 'not_found');
  const wrong = await call(api, 'PUT', '/v1/entries');
  t.is(wrong.status, 405);
  t.is(wrong.json.code, 'method_not_allowed');
  t.deepEqual(wrong.headers.get('allow')?.split(', ').sort(), ['GET', 'HEAD', 'POST']);
  t.is((await call(api, 'OPTIONS', '/v1/entries')).headers.get('access-control-allow-origin'), null);
});

test('an error of our own shows nothing but its request, and is whole in the log', async (t) => {
  const api = await startApi(t, {
    proxies: () => {
      throw new Error('the secret inside');
    },
  });
  const { status, json, headers } = await call(api, 'GET', '/v1/proxies');
  t.is(status, 500);
  t.is(json.code, 'internal');
  t.false(JSON.stringify(json).includes('secret'));
  const requestId = headers.get('x-request-id') ?? '';
  t.is(json.instance, `urn:uuid:${requestId}`);
  const line = api.logged.find((text) => text.includes(requestId) && text.includes('the secret inside'));
  t.is(JSON.parse(line ?? '{}').level, 50);
});

test('a log line has the route, never the query or what a path held', async (t) => {
  const api = await startApi(t);
  await call(api, 'GET', '/v1/issuances/hush?node=hush');
  const line = JSON.parse(api.logged.find((text) => text.includes('/v1/issuances')) ?? '{}');
  t.like(line, { method: 'GET', route: '/v1/issuances/{serial}', status: 400, actor: 'operator:root' });
  t.false(api.logged.join('').includes('hush'));
});

test('every answer forbids caching, sniffing, framing and embedding', async (t) => {
  const api = await startApi(t);
  for (const path of ['/v1/bundle', '/v1/entries', '/nothing']) {
    const { headers } = await call(api, 'GET', path, { as: 'none' });
    t.is(headers.get('cache-control'), 'no-store');
    t.is(headers.get('x-content-type-options'), 'nosniff');
    t.regex(headers.get('content-security-policy') ?? '', /default-src 'none'; frame-ancestors 'none'/);
    t.is(headers.get('x-frame-options'), 'DENY');
    t.is(headers.get('referrer-policy'), 'no-referrer');
    t.is(headers.get('cross-origin-opener-policy'), 'same-origin');
    t.is(headers.get('cross-origin-resource-policy'), 'same-origin');
  }
});

for (const [host, local] of [
  ['localhost', true],
  ['LOCALHOST:8080', true],
  ['carnet.localhost:8080', true],
  ['127.0.0.1:8080', true],
  ['[::1]:8080', true],
  ['192.0.2.1', true],
  [undefined, true],
  ['', false],
  ['evil.example', false],
  ['localhost.evil.example:8080', false],
  ['127.0.0.1.evil.example', false],
  ['127.0.0.1@evil.example', false],
  ['[::1].evil.example', false],
] as const)
  test(`the host ${host} ${local ? 'is' : 'is not'} this machine's own`, (t) => {
    t.is(isLocalHost(host), local);
  });

test('a loopback listener refuses a foreign host, also to what is public (DNS rebinding)', async (t) => {
  const api = await startApi(t);
  const { status } = await rawGet(api.url, 'evil.example');
  t.is(status, 403);
  const open = await startApi(t, { loopback: false });
  t.is((await rawGet(open.url, 'carnet.example')).status, 200);
  t.deepEqual(['127.0.0.1', '127.8.9.1', '::1', 'localhost'].map(isLoopback), [true, true, true, true]);
  t.deepEqual(['0.0.0.0', '::', '10.0.0.1', '127.0.0.1.x'].map(isLoopback), [false, false, false, false]);
});

/** `fetch` doesn't let a caller choose the Host. */
async function rawGet(url: string, host: string): Promise<{ status: number | undefined }> {
  const { get } = await import('node:http');
  return new Promise((resolve, reject) => {
    get(`${url}/v1/bundle`, { headers: { host } }, (response) => {
      response.resume();
      resolve({ status: response.statusCode });
    }).on('error', reject);
  });
}

test('what fails is a page for a person who looks at it, and what he sent is text on it', async (t) => {
  const api = await startApi(t);
  const sent = '<img src=x onerror=alert(1)>"&';
  const { status, headers, text } = await call(
    api,
    'GET',
    `/v1/entries?limit=${encodeURIComponent(sent)}&${encodeURIComponent(sent)}=1`,
    { headers: { 'sec-fetch-dest': 'document' } },
  );
  t.is(status, 400);
  t.is(headers.get('content-type'), 'text/html; charset=utf-8');
  t.is(headers.get('content-security-policy'), "default-src 'none'; frame-ancestors 'none'");
  t.regex(text, /<h1>400 Bad Request<\/h1>/);
  t.false(text.includes('<img'), text);
});
