import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { PostgresAuthorityStore } from '../../src/db/authorities.ts';
import { PostgresEntryStore } from '../../src/db/entries.ts';
import { PostgresIssuanceQuery } from '../../src/db/issuance-query.ts';
import { insertIssuances } from '../../src/db/issuances.ts';
import { PostgresSessionStore } from '../../src/db/sessions.ts';
import { PostgresTokenStore } from '../../src/db/tokens.ts';
import { issuance, openDatabase } from '../db/fixtures.ts';
import { createDatabase } from '../support/database.ts';
import { call, ENTRY, makeCertificate, startApi } from './harness.ts';

/** The whole API over a PostgreSQL of its own; `stop` takes that away. */
async function startOnPostgres(t: ExecutionContext) {
  const { url, drop } = await createDatabase();
  const database = openDatabase(url);
  let dropped: Promise<void> | undefined;
  const stop = (): Promise<void> => {
    dropped ??= drop();
    return dropped;
  };
  t.teardown(async () => {
    await database.close();
    await stop();
  });
  const api = await startApi(t, {
    entries: new PostgresEntryStore(database),
    tokens: new PostgresTokenStore(database),
    issuances: new PostgresIssuanceQuery(database),
    authorities: new PostgresAuthorityStore(database),
  });
  return { ...api, database, stop };
}

test('entries are created, applied, pruned and deleted, each version on record', async (t) => {
  const api = await startOnPostgres(t);
  t.is((await call(api, 'POST', '/v1/entries', { body: ENTRY })).status, 201);
  t.is((await call(api, 'POST', '/v1/entries', { body: ENTRY })).json.code, 'already_exists');
  const { id: _, ...unnamed } = ENTRY;
  const applied = await call(api, 'POST', '/v1/entries:apply', {
    body: {
      entries: [
        { ...unnamed, ttl: '2h' },
        { spiffe_id: '/api', selectors: ['unix:uid:7'] },
      ],
      prune: true,
    },
  });
  t.like(applied.json, { updated: [{ id: 'web', version: 2 }], created: [{ version: 1 }], deleted: [] });
  const list = await call(api, 'GET', '/v1/entries');
  t.is(list.json.items.length, 2);
  const again = await call(api, 'POST', '/v1/entries:apply', {
    body: { entries: [{ spiffe_id: '/api', selectors: ['unix:uid:7'] }], prune: true },
  });
  t.like(again.json, { unchanged: 1, deleted: [{ id: 'web', version: 2 }] });
  t.is((await call(api, 'DELETE', '/v1/entries/web')).status, 404);
});

test('issuances are found by every filter, page by page, and shown whole', async (t) => {
  const api = await startOnPostgres(t);
  const certificate = await makeCertificate('leaf');
  await call(api, 'POST', '/v1/entries', { body: ENTRY });
  const recorded = Array.from({ length: 5 }, (_, i) => issuance({ instance: `container:${i}`, certificate }));
  await insertIssuances(api.database, recorded);
  const [one] = recorded;
  for (const [filter, count] of [
    [{}, 5],
    [{ identity: '/web' }, 5],
    [{ instance: 'container:0' }, 1],
    [{ serial: one?.serial.toUpperCase() ?? '' }, 1],
    [{ node: 'node-1' }, 5],
    [{ entry: 'web' }, 5],
    [{ authority: 'issuing-0a1b2c3d' }, 5],
    [{ identity_prefix: '/w' }, 5],
    [{ rule: 'web', entry_version: '1' }, 5],
    [{ rule: 'web', entry_version: '2' }, 0],
    [{ requester: 'agent:node-1', profile: 'x509-svid' }, 5],
    [
      {
        fingerprint: Buffer.from(one?.certificateSha256 ?? '')
          .toString('hex')
          .toUpperCase(),
      },
      1,
    ],
    [{ valid_at: '2026-03-01T00:30:00Z' }, 5],
    [{ unexpired_at: '2026-03-01T02:00:00Z' }, 0],
    [{ revoked: 'false' }, 5],
    [{ revoked: 'true' }, 0],
    [{ from: '2020-01-01T00:00:00Z', to: '2099-01-01T00:00:00Z' }, 5],
    [{ to: '2020-01-01T00:00:00Z' }, 0],
    [{ node: 'nowhere' }, 0],
  ] as const) {
    const { json } = await call(api, 'GET', `/v1/issuances?${new URLSearchParams(filter)}`, {
      as: 'auditor',
    });
    t.is(json.items.length, count, JSON.stringify(filter));
  }
  const seen = new Set<string>();
  let query = '?limit=2';
  while (query !== '') {
    const { json } = await call(api, 'GET', `/v1/issuances${query}`);
    for (const { serial } of json.items) seen.add(serial);
    query = json.next_cursor === null ? '' : `?limit=2&cursor=${json.next_cursor}`;
  }
  t.deepEqual([...seen].sort(), recorded.map(({ serial }) => serial).sort());
  const shown = await call(api, 'GET', `/v1/issuances/${one?.serial}`);
  t.like(shown.json, { serial: one?.serial, evidence: { uid: 1000 }, granted_by: { id: 'web', version: 1 } });
});

test('a session that one replica opened is known to another, and ends for both', async (t) => {
  const { url, drop } = await createDatabase();
  const database = openDatabase(url);
  t.teardown(async () => {
    await database.close();
    await drop();
  });
  const one = await startApi(t, {
    sessions: new PostgresSessionStore(database),
    tokens: new PostgresTokenStore(database),
  });
  const other = await startApi(t, { sessions: new PostgresSessionStore(database) });
  const opened = await call(one, 'POST', '/v1/session', { as: 'auditor' });
  t.is(opened.status, 201, opened.text);
  const cookie = opened.headers.getSetCookie()[0]?.split(';', 1)[0] ?? '';
  const who = () => call(other, 'GET', '/v1/session', { as: 'none', headers: { cookie } });
  t.like((await who()).json, { actor: 'operator:eve', role: 'auditor', csrf: opened.json.csrf });
  const page = { cookie, origin: one.url, 'carnet-csrf': opened.json.csrf };
  t.is((await call(one, 'DELETE', '/v1/session', { as: 'none', headers: page })).status, 200);
  t.is((await call(one, 'GET', '/v1/session', { as: 'none', headers: { cookie } })).status, 401);
  other.time.now += 5000;
  t.is((await who()).status, 401);
});

test('tokens are created, used, listed and revoked', async (t) => {
  const api = await startOnPostgres(t);
  const { json } = await call(api, 'POST', '/v1/tokens', { body: { name: 'ci', role: 'auditor' } });
  const as = { ...api, bearers: { ...api.bearers, auditor: json.token } };
  t.is((await call(as, 'GET', '/v1/tokens', { as: 'auditor' })).json.items.at(-1).name, 'ci');
  t.is((await call(api, 'DELETE', `/v1/tokens/${json.id}`)).status, 200);
  t.is((await call(as, 'GET', '/v1/tokens', { as: 'auditor' })).status, 401);
  t.deepEqual((await call(api, 'GET', '/v1/authorities')).json, { items: [] });
});

test('no filter that the API lets through makes PostgreSQL fail', async (t) => {
  const api = await startOnPostgres(t);
  const text = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 20 }),
    fc.constantFrom(
      '/web',
      'ab',
      'ab'.repeat(32),
      'true',
      'spiffe://',
      '1970-01-01T00:00:00Z',
      '9999-12-31T23:59:59.999999999Z',
      '1',
      '\ufffe',
      '\u{10ffff}',
    ),
  );
  const name = fc.constantFrom(
    'identity',
    'instance',
    'serial',
    'node',
    'entry',
    'authority',
    'identity_prefix',
    'fingerprint',
    'rule',
    'entry_version',
    'requester',
    'profile',
    'valid_at',
    'unexpired_at',
    'revoked',
    'from',
    'to',
    'cursor',
  );
  await fc.assert(
    fc.asyncProperty(fc.dictionary(name, text, { maxKeys: 3 }), async (filter) => {
      const pairs = Object.entries(filter).map(([key, value]): [string, string] => [
        key,
        value.toWellFormed(),
      ]);
      const { status } = await call(api, 'GET', `/v1/issuances?${new URLSearchParams(pairs)}`);
      return status === 200 || status === 400;
    }),
    { numRuns: 200, seed: 4 },
  );
  t.pass();
});

test('when PostgreSQL is gone, what needs it answers 503 and the rest goes on', async (t) => {
  const api = await startOnPostgres(t);
  t.is((await call(api, 'GET', '/v1/entries')).status, 200);
  await api.stop();
  for (const path of ['/v1/entries', '/v1/issuances', '/v1/authorities', '/v1/tokens']) {
    const { status, json } = await call(api, 'GET', path);
    t.is(status, 503, path);
    t.is(json.code, 'database_unavailable');
  }
  t.is((await call(api, 'POST', '/v1/entries', { body: ENTRY })).status, 503);
  for (const path of ['/v1/proxies', '/v1/bundle', '/healthz', '/metrics'])
    t.is((await call(api, 'GET', path)).status, 200, path);
});
