import test from 'ava';
import { parseSpiffeId } from '../../src/identity/spiffe-id.ts';
import { call, ENTRY, makeCertificate, makeIssuance, startApi } from './harness.ts';

test('what a broken glass changes is on record before it changes, and shouts', async (t) => {
  const api = await startApi(t);
  t.is((await call(api, 'POST', '/v1/entries', { as: 'break-glass', body: ENTRY })).status, 201);
  t.like(api.events[0], {
    actor: 'operator:glass',
    action: 'break-glass.use',
    subject: 'POST /v1/entries',
    after: { role: 'break-glass', session: null },
  });
  const shout = api.logged.map((line) => JSON.parse(line)).find(({ msg }) => msg === 'the glass is broken');
  t.like(shout, { level: 50, actor: 'operator:glass', method: 'POST', route: '/v1/entries' });
  t.is((await call(api, 'GET', '/v1/proxies', { as: 'break-glass' })).status, 200);
  t.is(api.events.length, 1);
  t.regex(await api.metrics.scrape(), /^carnet_break_glass_requests_total 2$/m);
});

test('a broken glass changes nothing when that can not be put on record', async (t) => {
  const unrecorded = new Error('no record');
  const api = await startApi(t, {
    recordEvent: async () => {
      throw unrecorded;
    },
  });
  t.is((await call(api, 'POST', '/v1/entries', { as: 'break-glass', body: ENTRY })).status, 500);
  t.deepEqual(api.entries.changes, []);
  t.is((await call(api, 'POST', '/v1/entries', { as: 'admin', body: ENTRY })).status, 201);
});

test('a token of break-glass lasts an hour at most, and always ends', async (t) => {
  const api = await startApi(t);
  const create = (name: string, ttl?: string) =>
    call(api, 'POST', '/v1/tokens', { body: { name, role: 'break-glass', ...(ttl && { ttl }) } });
  t.is((await create('a', '1h')).status, 201);
  for (const ttl of [undefined, '61m', '30d']) {
    const { status, json } = await create('b', ttl);
    t.is(status, 400, ttl);
    t.regex(json.detail, /a ttl of at most 1h/);
  }
});

test('a session of break-glass says so, and is over in an hour', async (t) => {
  const api = await startApi(t);
  const { json } = await call(api, 'POST', '/v1/session', { as: 'break-glass' });
  t.regex(json.notice, /glass/);
  t.is(json.expires_at, '2026-03-10T13:00:00.000Z');
  t.is((await call(api, 'GET', '/v1/session', { as: 'admin' })).json.notice, null);
});

test('reads of evidence leave an event only where they are to, and one that found nothing never', async (t) => {
  for (const [recordEvidenceReads, as, count] of [
    [false, 'auditor', 0],
    [false, 'break-glass', 1],
    [true, 'auditor', 1],
    [true, 'admin', 1],
  ] as const) {
    const api = await startApi(t, { recordEvidenceReads });
    api.issuances.issuances.push(makeIssuance(10, await makeCertificate('leaf')));
    t.is((await call(api, 'GET', '/v1/issuances/0a', { as })).status, 200);
    t.is((await call(api, 'GET', '/v1/issuances/0b', { as })).status, 404);
    t.is((await call(api, 'GET', '/v1/issuances', { as })).status, 200);
    const reads = api.events.filter(({ action }) => action === 'evidence.read');
    t.is(reads.length, count, as);
    if (count > 0) t.like(reads[0], { subject: 'GET /v1/issuances/0a', after: { role: as } });
  }
});

test('evidence whose reading can not be put on record is not given', async (t) => {
  const api = await startApi(t, {
    recordEvidenceReads: true,
    recordEvent: async () => {
      throw new Error('no record');
    },
  });
  api.issuances.issuances.push(makeIssuance(10, await makeCertificate('leaf')));
  const { status, text } = await call(api, 'GET', '/v1/issuances/0a', { as: 'auditor' });
  t.is(status, 500);
  t.false(text.includes('evidence'));
});

test('a limited token does what it is limited to, and makes none that may more', async (t) => {
  const api = await startApi(t);
  const limited = async (name: string, scopes: readonly string[]) => {
    const { json } = await call(api, 'POST', '/v1/tokens', { body: { name, role: 'admin', scopes } });
    return { ...api, bearers: { ...api.bearers, admin: json.token } };
  };
  const writer = await limited('writer', ['entries:write']);
  t.is((await call(writer, 'POST', '/v1/entries', { body: ENTRY })).status, 201);
  t.is((await call(writer, 'GET', '/v1/entries')).status, 403);
  t.is((await call(writer, 'POST', '/v1/tokens', { body: { name: 'x', role: 'auditor' } })).status, 403);
  t.deepEqual((await call(writer, 'GET', '/v1/session')).json.scopes, ['entries:write']);

  const giver = await limited('giver', ['tokens:write', 'entries:read']);
  const give = (name: string, role: string, scopes?: readonly string[]) =>
    call(giver, 'POST', '/v1/tokens', { body: { name, role, ...(scopes && { scopes }) } });
  t.is((await give('a', 'auditor', ['entries:read'])).status, 201);
  t.is((await give('b', 'admin')).status, 403);
  t.is((await give('c', 'auditor')).status, 403);
  t.is((await give('d', 'admin', ['entries:read', 'entries:write'])).status, 403);
});

test('a broken glass breaks no other when its hour is over', async (t) => {
  const api = await startApi(t);
  const make = (as: 'admin' | 'break-glass', name: string, role: string, ttl = '1h') =>
    call(api, 'POST', '/v1/tokens', { as, body: { name, role, ttl } });
  t.is((await make('break-glass', 'longer', 'break-glass')).status, 403);
  t.deepEqual(api.tokens.changes, []);
  t.is((await make('break-glass', 'new-admin', 'admin')).status, 201);
  t.is((await make('break-glass', 'for-long', 'admin', '25h')).status, 400);
  t.is((await make('admin', 'another', 'break-glass')).status, 201);
});

test('no limit is lifted by an entry for an identity that has a role', async (t) => {
  const role = parseSpiffeId('spiffe://carnet.local/people/boss');
  const api = await startApi(t, { roleIdentities: [role] });
  const scopes = ['entries:write', 'tokens:write'];
  const { json } = await call(api, 'POST', '/v1/tokens', { body: { name: 'both', role: 'admin', scopes } });
  const limited = { ...api, bearers: { ...api.bearers, admin: json.token } };
  const body = { ...ENTRY, spiffe_id: role };
  t.is((await call(limited, 'POST', '/v1/entries', { body })).status, 403);
  t.is((await call(limited, 'POST', '/v1/entries:apply', { body: { entries: [body] } })).status, 403);
  t.deepEqual(api.entries.changes, []);
  t.is((await call(api, 'POST', '/v1/entries', { body })).status, 201);
});

for (const [role, scope] of [
  ['auditor', 'entries:write'],
  ['operator', 'operator-events:read'],
  ['operator', 'tokens:write'],
  ['admin', 'nothing:read'],
  ['admin', 'session:write'],
  ['admin', 'entries'],
] as const)
  test(`${role} has no scope ${scope}`, async (t) => {
    const api = await startApi(t);
    const body = { name: 'x', role, scopes: [scope] };
    const { status, json } = await call(api, 'POST', '/v1/tokens', { body });
    t.is(status, 400);
    t.regex(json.detail, /is nothing that .* may: these are .*entries:read/);
    t.deepEqual(api.tokens.changes, []);
  });

test('the last use of a token is shown, to the minute', async (t) => {
  const api = await startApi(t);
  const lastUse = async (): Promise<string | null> => {
    const { json } = await call(api, 'GET', '/v1/tokens', { as: 'admin' });
    return json.items.find(({ name }: { name: string }) => name === 'eve').last_used_at;
  };
  t.is(await lastUse(), null);
  await call(api, 'GET', '/v1/proxies', { as: 'auditor' });
  t.is(await lastUse(), '2026-03-10T12:00:00.000Z');
  api.time.now += 59_000;
  await call(api, 'GET', '/v1/proxies', { as: 'auditor' });
  t.is(await lastUse(), '2026-03-10T12:00:00.000Z');
  api.time.now += 6_000;
  await call(api, 'GET', '/v1/proxies', { as: 'auditor' });
  t.is(await lastUse(), '2026-03-10T12:01:05.000Z');
});
