import test from 'ava';
import { Authenticator } from '../../src/api/authenticate.ts';
import { createTokenText, hashToken, isTokenText } from '../../src/api/token-text.ts';
import { type Bearer, call, NOW, startApi } from './harness.ts';
import { MemoryTokens, Outage } from './memory-stores.ts';

const REFUSED: Bearer[] = ['none', 'revoked', 'expired', 'unknown', 'malformed'];

test('who is not known is told how to be', async (t) => {
  const api = await startApi(t);
  for (const as of REFUSED) {
    const { status, json, headers } = await call(api, 'GET', '/v1/proxies', { as });
    t.is(status, 401, as);
    t.is(json.code, 'unauthenticated', as);
    t.is(headers.get('www-authenticate'), 'Bearer realm="carnet"');
  }
});

test('a revoked token is refused by the next request', async (t) => {
  const api = await startApi(t);
  t.is((await call(api, 'GET', '/v1/proxies', { as: 'auditor' })).status, 200);
  const eve = [...api.tokens.tokens.values()].find(({ token }) => token.name === 'eve')?.token;
  t.is((await call(api, 'DELETE', `/v1/tokens/${eve?.id}`)).status, 200);
  const { status, json } = await call(api, 'GET', '/v1/proxies', { as: 'auditor' });
  t.is(status, 401);
  t.regex(json.detail, /eve was revoked/);
});

test('a token that expires is refused from that moment on, though it was remembered', async (t) => {
  const api = await startApi(t);
  t.is((await call(api, 'GET', '/v1/proxies')).status, 200);
  api.time.now += 3600_000;
  t.is((await call(api, 'GET', '/v1/proxies')).status, 401);
});

test('a token does not revoke itself', async (t) => {
  const api = await startApi(t);
  const root = [...api.tokens.tokens.values()].find(({ token }) => token.name === 'root')?.token;
  const { status, json } = await call(api, 'DELETE', `/v1/tokens/${root?.id}`);
  t.is(status, 409);
  t.is(json.code, 'conflict');
  t.is((await call(api, 'GET', '/v1/proxies')).status, 200);
});

test('without Postgres, a token used lately still reads what needs no Postgres, and changes nothing', async (t) => {
  const api = await startApi(t);
  await call(api, 'GET', '/v1/proxies');
  api.outage.down = true;
  api.time.now += 60_000;
  t.is((await call(api, 'GET', '/v1/proxies')).status, 200);
  for (const [method, path, as] of [
    ['GET', '/v1/entries', 'admin'],
    ['POST', '/v1/entries', 'admin'],
    ['GET', '/v1/proxies', 'auditor'],
  ] as const) {
    const { status, json, headers } = await call(api, method, path, { as });
    t.is(status, 503, `${method} ${path}`);
    t.is(json.code, 'database_unavailable');
    t.regex(headers.get('retry-after') ?? '', /^[1-9]\d*$/);
  }
  api.time.now += 15 * 60_000;
  t.is((await call(api, 'GET', '/v1/proxies')).status, 503);
});

test('a token is asked for again after some seconds, and once in that time', async (t) => {
  const tokens = new MemoryTokens(new Outage());
  const text = createTokenText('auditor');
  await tokens.create(
    { name: 'a', role: 'auditor', scopes: null, expiresAt: null, sha256: hashToken(text) },
    'server:test',
  );
  let now = NOW;
  const authenticator = new Authenticator(tokens, () => now);
  for (let i = 0; i < 10; i++) await authenticator.authenticate(`Bearer ${text}`, true);
  t.is(tokens.finds, 1);
  now += 5000;
  await tokens.revoke('token-1', 'server:test');
  await t.throwsAsync(authenticator.authenticate(`Bearer ${text}`, true), { code: 'unauthenticated' });
  t.is(tokens.finds, 2);
});

test('tokens are remembered up to a bound, the latest ones', async (t) => {
  const tokens = new MemoryTokens(new Outage());
  const authenticator = new Authenticator(tokens, () => NOW);
  const texts = Array.from({ length: 300 }, () => createTokenText('auditor'));
  for (const [i, text] of texts.entries()) {
    await tokens.create(
      { name: `t${i}`, role: 'auditor', scopes: null, expiresAt: null, sha256: hashToken(text) },
      'server:test',
    );
    await authenticator.authenticate(`Bearer ${text}`, true);
  }
  tokens.finds = 0;
  await authenticator.authenticate(`Bearer ${texts.at(-1)}`, true);
  t.is(tokens.finds, 0);
  await authenticator.authenticate(`Bearer ${texts[0]}`, true);
  t.is(tokens.finds, 1);
});

test('text that has not the form of a token never reaches the store', async (t) => {
  const tokens = new MemoryTokens(new Outage());
  const authenticator = new Authenticator(tokens, () => NOW);
  const text = createTokenText('admin');
  const headers = [
    undefined,
    '',
    'Bearer',
    'Bearer ',
    `Basic ${text}`,
    text,
    `Bearer ${text}x`,
    `Bearer ${text} ${text}`,
    `Bearer ${text.toUpperCase()}`,
  ];
  for (const header of headers)
    await t.throwsAsync(authenticator.authenticate(header, true), { code: 'unauthenticated' }, header);
  t.is(tokens.finds, 0);
});

test('the text of a token tells its role, has 256 random bits, and is new each time', (t) => {
  const texts = Array.from({ length: 100 }, () => createTokenText('auditor'));
  t.is(new Set(texts).size, 100);
  for (const text of texts) {
    t.true(isTokenText(text));
    t.is(Buffer.from(text.replace('carnet_auditor_', ''), 'base64url').length, 32);
  }
});

test('no token is written to the log, whatever becomes of the request', async (t) => {
  const api = await startApi(t);
  for (const as of ['auditor', 'admin', ...REFUSED] as const) {
    await call(api, 'GET', `/v1/entries?token=${api.bearers[as]}`, { as });
    await call(api, 'POST', '/v1/entries', { as, body: { id: api.bearers[as] } });
  }
  const { json } = await call(api, 'POST', '/v1/tokens', { body: { name: 'new', role: 'admin' } });
  t.true(api.logged.length >= 15);
  for (const text of [...Object.values(api.bearers), json.token])
    if (text !== null) t.false(api.logged.join('').includes(text));
});

test('what was revoked does not come back with a clock that is set back', async (t) => {
  const tokens = new MemoryTokens(new Outage());
  const text = createTokenText('admin');
  await tokens.create(
    { name: 'a', role: 'admin', scopes: null, expiresAt: null, sha256: hashToken(text) },
    'server:test',
  );
  let now = NOW;
  const authenticator = new Authenticator(tokens, () => now);
  await authenticator.authenticate(`Bearer ${text}`, true);
  now -= 3600_000;
  await tokens.revoke('token-1', 'server:test');
  for (const reading of [true, false])
    await t.throwsAsync(authenticator.authenticate(`Bearer ${text}`, reading), { code: 'unauthenticated' });
});
