import { request } from 'node:http';
import test from 'ava';
import { type Api, type Bearer, call, ENTRY, startApi } from './harness.ts';

const MINUTE_MS = 60_000;

interface Browser {
  readonly cookie: string;
  readonly csrf: string;
}

/** Signs in as a browser at the server's own address does. */
async function signIn(api: Api, as: Bearer = 'admin'): Promise<Browser> {
  const { status, headers, json } = await call(api, 'POST', '/v1/session', { as });
  if (status !== 201) throw new Error(`the sign-in answered ${status}`);
  return { cookie: cookieOf(headers), csrf: json.csrf };
}

function cookieOf(headers: Headers): string {
  return headers.getSetCookie()[0]?.split(';', 1)[0] ?? '';
}

/** A request as a page of the server's own sends it; `changes` makes it another's. */
function send(
  api: Api,
  method: string,
  path: string,
  { cookie, csrf }: Browser,
  { body, ...changes }: { body?: unknown } & Record<string, unknown> = {},
) {
  const headers = Object.entries({
    cookie,
    origin: api.url,
    'sec-fetch-site': 'same-origin',
    'carnet-csrf': csrf,
    ...changes,
  }).filter(([, value]) => value !== null);
  return call(api, method, path, {
    as: 'none',
    ...(body === undefined ? {} : { body }),
    headers: Object.fromEntries(headers) as Record<string, string>,
  });
}

test('a browser signs in with a token, reads and changes by its cookie, and signs out', async (t) => {
  const api = await startApi(t);
  const browser = await signIn(api);
  const who = await send(api, 'GET', '/v1/session', browser);
  t.like(who.json, {
    actor: 'operator:root',
    role: 'admin',
    scopes: null,
    session: true,
    expires_at: '2026-03-10T13:00:00.000Z',
    idle_seconds: 900,
    csrf: browser.csrf,
    notice: null,
  });
  t.is((await send(api, 'POST', '/v1/entries', browser, { body: ENTRY })).status, 201);
  t.deepEqual(api.entries.changes, [['operator:root', 'entry.create', 'web']]);
  const ended = await send(api, 'DELETE', '/v1/session', browser);
  t.is(ended.status, 200);
  t.regex(ended.headers.get('set-cookie') ?? '', /^carnet-session=; Path=\/; Max-Age=0; /);
  t.is((await send(api, 'GET', '/v1/session', browser)).status, 401);
});

test('the cookie is for this host and its own pages only, and no script sees it', async (t) => {
  const api = await startApi(t);
  const { headers, text } = await call(api, 'POST', '/v1/session');
  const [cookie = ''] = headers.getSetCookie();
  t.regex(cookie, /^carnet-session=[A-Za-z0-9_-]{43}; Path=\/; Max-Age=28800; HttpOnly; SameSite=Strict$/);
  const [, secret = ''] = cookieOf(headers).split('=');
  t.false(text.includes(secret));
  const secure = await startApi(t, { webUrl: 'https://carnet.example' });
  const [over = ''] = (await call(secure, 'POST', '/v1/session')).headers.getSetCookie();
  t.regex(over, /^__Host-carnet-session=[A-Za-z0-9_-]{43}; Path=\/; .*; HttpOnly; SameSite=Strict; Secure$/);
});

test('a session is new at each sign-in, whatever cookie was there before (fixation)', async (t) => {
  const api = await startApi(t);
  const chosen = 'A'.repeat(43);
  const { headers } = await call(api, 'POST', '/v1/session', {
    headers: { cookie: `carnet-session=${chosen}` },
  });
  t.false(cookieOf(headers).includes(chosen));
  const fixed = { cookie: `carnet-session=${chosen}`, csrf: '' };
  t.is((await send(api, 'GET', '/v1/session', fixed)).status, 401);
  const [one, two] = [await signIn(api), await signIn(api)];
  t.not(one.cookie, two.cookie);
  t.not(one.csrf, two.csrf);
});

for (const [title, changes] of [
  ['without the CSRF token', { 'carnet-csrf': null }],
  ['with an empty one', { 'carnet-csrf': '' }],
  ['with another of the same length', { 'carnet-csrf': 'A'.repeat(43) }],
  ['from another site', { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }],
  ['from another port of this host', { origin: 'http://127.0.0.1:1', 'sec-fetch-site': 'same-site' }],
  ['from a sandboxed frame', { origin: 'null', 'sec-fetch-site': 'cross-site' }],
  ['from nowhere', { origin: null }],
  ['from the address bar', { 'sec-fetch-site': 'none' }],
  ['from the same host over https', { origin: 'https://127.0.0.1' }],
] as const)
  test(`a session changes nothing ${title}`, async (t) => {
    const api = await startApi(t);
    const browser = await signIn(api);
    for (const [method, path, body] of [
      ['POST', '/v1/entries', ENTRY],
      ['POST', '/v1/tokens', { name: 'x', role: 'admin' }],
      ['DELETE', '/v1/session', undefined],
    ] as const) {
      const { status, json } = await send(api, method, path, browser, {
        ...changes,
        ...(body === undefined ? {} : { body }),
      });
      t.is(status, 403, path);
      t.is(json.code, 'permission_denied');
    }
    t.deepEqual([...api.entries.changes, ...api.tokens.changes], []);
    t.is((await send(api, 'GET', '/v1/session', browser)).status, 200);
  });

for (const type of ['application/x-www-form-urlencoded', 'text/plain', 'multipart/form-data'])
  test(`what a form can send (${type}) is no request of ours, even with the CSRF token`, async (t) => {
    const api = await startApi(t);
    const browser = await signIn(api);
    const sent = await send(api, 'POST', '/v1/entries', browser, {
      body: JSON.stringify(ENTRY),
      'content-type': type,
    });
    t.is(sent.status, 400);
    t.deepEqual(api.entries.changes, []);
  });

for (const site of ['cross-site', 'same-site'])
  test(`a page of a ${site} does not even read by the cookie`, async (t) => {
    const api = await startApi(t);
    const browser = await signIn(api);
    const read = await send(api, 'GET', '/v1/entries', browser, { 'sec-fetch-site': site, origin: null });
    t.is(read.status, 403);
    t.is((await send(api, 'GET', '/v1/entries', browser, { origin: 'https://evil.example' })).status, 403);
    const typed = { 'sec-fetch-site': 'none', origin: null, 'carnet-csrf': null };
    t.is((await send(api, 'GET', '/v1/entries', browser, typed)).status, 200);
  });

test('two cookies of the name are refused: one was put beside ours (tossing)', async (t) => {
  const api = await startApi(t);
  const [victim, attacker] = [await signIn(api), await signIn(api, 'auditor')];
  const cookie = `${attacker.cookie}; ${victim.cookie}`;
  const { status, json } = await send(api, 'GET', '/v1/session', { ...victim, cookie });
  t.is(status, 401);
  t.regex(json.detail, /2 cookies named carnet-session/);
});

test('a cookie without its prefix counts for nothing where browsers come by https', async (t) => {
  const api = await startApi(t, { webUrl: 'https://carnet.example' });
  const browser = await signIn(api);
  t.true(browser.cookie.startsWith('__Host-carnet-session='));
  t.is((await send(api, 'GET', '/v1/session', browser)).status, 200);
  const tossed = browser.cookie.replace('__Host-', '');
  t.is((await send(api, 'GET', '/v1/session', { ...browser, cookie: tossed })).status, 401);
  for (const [origin, status] of [
    ['https://carnet.example', 201],
    ['http://carnet.example', 403],
    ['https://carnet.example:8443', 403],
    ['https://carnet.example.evil.example', 403],
  ] as const) {
    const sent = await send(api, 'POST', '/v1/entries', browser, {
      body: { ...ENTRY, id: `e-${status}` },
      origin,
    });
    t.is(sent.status, status, origin);
  }
});

test('a token that is shown counts, not the cookie that a browser adds', async (t) => {
  const api = await startApi(t);
  const { cookie } = await signIn(api);
  const { json } = await call(api, 'GET', '/v1/session', { as: 'auditor', headers: { cookie } });
  t.like(json, { actor: 'operator:eve', session: false, csrf: null });
  t.is(
    (await call(api, 'POST', '/v1/entries', { as: 'auditor', headers: { cookie }, body: ENTRY })).status,
    403,
  );
  t.is((await call(api, 'GET', '/v1/entries', { as: 'revoked', headers: { cookie } })).status, 401);
});

test('a session opens no other, and a token has none to end', async (t) => {
  const api = await startApi(t);
  const browser = await signIn(api);
  t.is((await send(api, 'POST', '/v1/session', browser)).status, 409);
  t.is((await call(api, 'DELETE', '/v1/session')).status, 409);
});

test('a session has its token’s role, and ends with it', async (t) => {
  const api = await startApi(t);
  const browser = await signIn(api, 'auditor');
  t.is((await send(api, 'GET', '/v1/entries', browser)).status, 200);
  t.is((await send(api, 'POST', '/v1/entries', browser, { body: ENTRY })).status, 403);
  const eve = [...api.tokens.tokens.values()].find(({ token }) => token.name === 'eve')?.token;
  await call(api, 'DELETE', `/v1/tokens/${eve?.id}`);
  t.is((await send(api, 'GET', '/v1/entries', browser)).status, 401);
});

test('a session of a token that expires is over by then', async (t) => {
  const api = await startApi(t);
  const browser = await signIn(api);
  for (let minutes = 0; minutes < 60; minutes += 10) {
    t.is((await send(api, 'GET', '/v1/entries', browser)).status, 200);
    api.time.now += 10 * MINUTE_MS;
  }
  t.is((await send(api, 'GET', '/v1/entries', browser)).status, 401);
});

test('a session ends when nobody uses it for 15 minutes, and after 8 hours of use', async (t) => {
  const api = await startApi(t);
  const idle = await signIn(api, 'auditor');
  api.time.now += 14 * MINUTE_MS;
  t.is((await send(api, 'GET', '/v1/entries', idle)).status, 200);
  api.time.now += 15 * MINUTE_MS;
  t.is((await send(api, 'GET', '/v1/entries', idle)).status, 401);
  t.is((await send(api, 'GET', '/v1/entries', idle)).status, 401);
  const busy = await signIn(api, 'auditor');
  for (let minutes = 0; minutes < 480; minutes += 12) {
    t.is((await send(api, 'GET', '/v1/entries', busy)).status, 200, `${minutes}`);
    api.time.now += 12 * MINUTE_MS;
  }
  t.is((await send(api, 'GET', '/v1/entries', busy)).status, 401);
});

test('there are no sessions at a name that is not ours, nor over plain HTTP from elsewhere', async (t) => {
  const api = await startApi(t, { loopback: false });
  const { cookie, csrf } = await signIn(api);
  for (const host of ['evil.example', '192.0.2.1:8080', 'localhost.evil.example', '127.0.0.1.evil.example']) {
    const authorization = `Bearer ${api.bearers.admin}`;
    t.is(await statusAt(api.url, 'POST', '/v1/session', { host, authorization }), 403, host);
    const byCookie = { host, cookie, origin: `http://${host}`, 'carnet-csrf': csrf };
    t.is(await statusAt(api.url, 'GET', '/v1/session', byCookie), 403, host);
    t.is(await statusAt(api.url, 'GET', '/v1/entries', { host, authorization }), 200, host);
  }
  const named = await startApi(t, { webUrl: 'https://carnet.example' });
  const authorization = `Bearer ${named.bearers.admin}`;
  t.is(await statusAt(named.url, 'POST', '/v1/session', { host: 'carnet.example', authorization }), 201);
  t.is(await statusAt(named.url, 'POST', '/v1/session', { host: 'evil.example', authorization }), 403);
});

test('sign-ins from one address are limited', async (t) => {
  const api = await startApi(t);
  const statuses: number[] = [];
  for (let i = 0; i < 22; i++) statuses.push((await call(api, 'POST', '/v1/session', { as: 'none' })).status);
  t.deepEqual(statuses, [...Array<number>(20).fill(401), 429, 429]);
  t.is((await call(api, 'GET', '/v1/session')).status, 200);
});

test('without Postgres, a session used lately still reads what needs none, and changes nothing', async (t) => {
  const api = await startApi(t);
  const browser = await signIn(api);
  await send(api, 'GET', '/v1/proxies', browser);
  api.outage.down = true;
  api.time.now += MINUTE_MS;
  t.is((await send(api, 'GET', '/v1/proxies', browser)).status, 200);
  t.is((await send(api, 'POST', '/v1/entries', browser, { body: ENTRY })).status, 503);
  t.is((await call(api, 'POST', '/v1/session')).status, 503);
});

test('who is signed in is listed for auditors, and ended by admins', async (t) => {
  const api = await startApi(t);
  const [eve] = [await signIn(api, 'auditor'), await signIn(api, 'operator')];
  const list = await call(api, 'GET', '/v1/sessions', { as: 'auditor' });
  t.deepEqual(
    list.json.items.map(({ actor, role, method }: Record<string, string>) => [actor, role, method]),
    [
      ['operator:eve', 'auditor', 'token'],
      ['operator:olga', 'operator', 'token'],
    ],
  );
  t.is((await send(api, 'GET', '/v1/entries', eve)).status, 200);
  t.is((await call(api, 'DELETE', '/v1/sessions/session-1')).status, 200);
  t.is((await send(api, 'GET', '/v1/entries', eve)).status, 401);
  t.is((await call(api, 'DELETE', '/v1/sessions/session-1')).status, 404);
});

test('neither cookie nor CSRF token is written to the log', async (t) => {
  const api = await startApi(t);
  const browser = await signIn(api);
  await send(api, 'GET', `/v1/entries?x=${browser.csrf}`, browser);
  await send(api, 'POST', '/v1/entries', browser, { body: ENTRY });
  await send(api, 'POST', '/v1/entries', browser, { body: ENTRY, origin: `http://${browser.csrf}` });
  const [, secret = ''] = browser.cookie.split('=');
  for (const text of [secret, browser.csrf]) t.false(api.logged.join('').includes(text));
});

/** `fetch` doesn't let a caller choose the Host. */
function statusAt(
  url: string,
  method: string,
  path: string,
  headers: Record<string, string>,
): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    request(url + path, { method, headers }, (response) => {
      response.resume();
      resolve(response.statusCode);
    })
      .on('error', reject)
      .end();
  });
}
