import { createHash } from 'node:crypto';
import test from 'ava';
import { parseJoinToken } from '../../src/agent/join-token-text.ts';
import { call, makeAuthority, NOW, startApi } from './harness.ts';

test('a join token is shown once, lasts ten minutes, and names the roots that the agent will trust', async (t) => {
  const api = await startApi(t);
  api.authorities.push(await makeAuthority());
  const { status, json } = await call(api, 'POST', '/v1/join-tokens', {
    body: { node: 'web-1', selectors: ['node:rack:7', 'node:rack:7', 'node:a:b'] },
  });
  t.is(status, 201);
  t.like(json, {
    node: 'web-1',
    selectors: ['node:a:b', 'node:rack:7'],
    created_by: 'operator:root',
    used_at: null,
  });
  t.is(Date.parse(json.expires_at), NOW + 600_000);
  const { id, rootSha256 } = parseJoinToken(json.token);
  t.is(id, json.id);
  t.deepEqual(
    rootSha256.map((one) => Buffer.from(one)),
    api.authorities.map(({ certificate }) => createHash('sha256').update(certificate).digest()),
  );
  const { json: list } = await call(api, 'GET', '/v1/join-tokens', { as: 'auditor' });
  t.is(list.items.length, 1);
  t.notRegex(JSON.stringify(list), /cnj1/);
});

for (const [claim, code, body] of [
  ['a name in upper case', 'invalid_argument', { node: 'Web-1' }],
  ['a name with a slash', 'invalid_argument', { node: 'a/b' }],
  ['a name with two dots', 'invalid_argument', { node: 'a..b' }],
  ['an empty name', 'invalid_argument', { node: '' }],
  ['a selector of a workload', 'selector_invalid', { selectors: ['unix:uid:0'] }],
  ['a selector that is the name', 'selector_invalid', { selectors: ['node:name:web-2'] }],
  ['a life of five seconds', 'invalid_argument', { ttl: '5s' }],
  ['a life of eight days', 'invalid_argument', { ttl: '8d' }],
] as const)
  test(`a join token with ${claim} is refused: ${code}`, async (t) => {
    const api = await startApi(t);
    const { status, json } = await call(api, 'POST', '/v1/join-tokens', { body });
    t.is(status, 400);
    t.is(json.code, code);
    t.is(api.joinTokens.tokens.size, 0);
  });

test('what attestation saw of a node is for those who read evidence', async (t) => {
  const api = await startApi(t);
  api.agents.add('web-1');
  const evidence = async (as: 'auditor' | 'operator') =>
    (await call(api, 'GET', '/v1/agents', { as })).json.items[0].evidence;
  t.deepEqual(await evidence('auditor'), { join_token: '0011223344556677' });
  t.is(await evidence('operator'), null);
  const ban = { as: 'operator', body: { reason: 'gone' } } as const;
  t.is((await call(api, 'POST', '/v1/agents/web-1/ban', ban)).json.evidence, null);
});

test('an agent is banned with a reason, and unbanned', async (t) => {
  const api = await startApi(t);
  api.agents.add('web-1');
  const ban = (body: unknown) => call(api, 'POST', '/v1/agents/web-1/ban', { body });
  t.is((await ban({})).status, 400, 'without a reason');
  t.like((await ban({ reason: 'its disk was stolen' })).json, {
    node: 'web-1',
    ban: { by: 'operator:root', reason: 'its disk was stolen' },
  });
  t.like((await call(api, 'POST', '/v1/agents/web-1/unban')).json, { ban: null, serial: null });
});
