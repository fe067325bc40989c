import { X509Certificate } from 'node:crypto';
import test from 'ava';
import { pemOf } from '../../src/api/certificate-body.ts';
import { planEntries } from '../../src/api/entry-plan.ts';
import { cutPage } from '../../src/api/page.ts';
import { parseEntry } from '../../src/policy/parse-entry.ts';
import {
  call,
  ENTRY,
  makeAuthority,
  makeCertificate,
  makeIssuance,
  NOW,
  startApi,
  TRUST_DOMAIN,
} from './harness.ts';

const OTHER = { id: 'api', spiffe_id: 'spiffe://carnet.local/api', selectors: ['unix:uid:1001'], ttl: '90s' };

test('an entry is created in its whole form, by the token that created it', async (t) => {
  const api = await startApi(t);
  const { status, json } = await call(api, 'POST', '/v1/entries', {
    body: { ...ENTRY, dns_names: ['Web.internal'] },
  });
  t.is(status, 201);
  t.deepEqual(json, {
    id: 'web',
    version: 1,
    spiffe_id: 'spiffe://carnet.local/web',
    selectors: ['unix:uid:1000'],
    dns_names: ['web.internal'],
    ttl: null,
    hint: null,
    federates_with: [],
  });
  t.deepEqual(api.entries.changes, [['operator:root', 'entry.create', 'web']]);
});

for (const [title, body, code] of [
  ['an ID of another trust domain', { ...ENTRY, spiffe_id: 'spiffe://other/web' }, 'entry_invalid'],
  ['no selectors', { ...ENTRY, selectors: [] }, 'entry_invalid'],
  ['a selector without a value', { ...ENTRY, selectors: ['unix:uid'] }, 'entry_invalid'],
] as const)
  test(`an entry with ${title} is refused and changes nothing`, async (t) => {
    const api = await startApi(t);
    for (const [path, sent] of [
      ['/v1/entries', body],
      ['/v1/entries:apply', { entries: [OTHER, body] }],
    ] as const) {
      const { status, json } = await call(api, 'POST', path, { body: sent });
      t.is(status, 400);
      t.is(json.code, code);
      if (path.endsWith(':apply')) t.regex(json.detail, /^entries\[1\]: /);
    }
    t.deepEqual(api.entries.changes, []);
  });

test('applying creates, updates and leaves alone; a second time it changes nothing', async (t) => {
  const api = await startApi(t);
  await call(api, 'POST', '/v1/entries', { body: ENTRY });
  const body = { entries: [{ ...ENTRY, ttl: '2h' }, OTHER] };
  const dry = await call(api, 'POST', '/v1/entries:apply', { body: { ...body, dry_run: true } });
  t.like(dry.json, {
    dry_run: true,
    created: [{ id: 'api', version: null }],
    updated: [{ id: 'web', version: null, ttl: '2h' }],
  });
  t.is(api.entries.changes.length, 1);
  const wet = await call(api, 'POST', '/v1/entries:apply', { body });
  t.like(wet.json, {
    created: [{ id: 'api', version: 1 }],
    updated: [{ id: 'web', version: 2 }],
    unchanged: 0,
  });
  const again = await call(api, 'POST', '/v1/entries:apply', { body });
  t.deepEqual(again.json, { dry_run: false, created: [], updated: [], unchanged: 2, deleted: [] });
});

test('applying deletes what the list does not name only with prune', async (t) => {
  const api = await startApi(t);
  await call(api, 'POST', '/v1/entries:apply', { body: { entries: [ENTRY, OTHER] } });
  const kept = await call(api, 'POST', '/v1/entries:apply', { body: { entries: [ENTRY] } });
  t.deepEqual(kept.json.deleted, []);
  const dry = await call(api, 'POST', '/v1/entries:apply', {
    body: { entries: [ENTRY], prune: true, dry_run: true },
  });
  t.like(dry.json.deleted, [{ id: 'api', version: 1 }]);
  t.deepEqual([...api.entries.entries.keys()], ['web', 'api']);
  const wet = await call(api, 'POST', '/v1/entries:apply', { body: { entries: [ENTRY], prune: true } });
  t.like(wet.json.deleted, [{ id: 'api' }]);
  t.deepEqual([...api.entries.entries.keys()], ['web']);
});

test('an entry without an ID is the one with its SPIFFE ID and selectors, in any order', (t) => {
  const entry = (fields: object) =>
    parseEntry({ spiffe_id: '/x', selectors: ['a:b:1', 'a:b:2'], ...fields }, TRUST_DOMAIN);
  const existing = [{ ...entry({}), id: 'kept', version: 1 }];
  const plan = planEntries(existing, [entry({ selectors: ['a:b:2', 'a:b:1'], ttl: '1h' })], true);
  t.deepEqual(
    plan.updated.map(({ id }) => id),
    ['kept'],
  );
  t.deepEqual(plan.deleted, []);
  const fresh = planEntries([], [entry({})], false).created[0]?.id ?? '';
  t.regex(fresh, /^entry-[0-9a-f]{12}$/);
  t.is(planEntries([], [entry({ ttl: '1h' })], false).created[0]?.id, fresh);
  t.not(planEntries([], [entry({ selectors: ['a:b:1'] })], false).created[0]?.id, fresh);
});

test('two entries of a list that are one entry are refused', async (t) => {
  const api = await startApi(t);
  const { id: _, ...unnamed } = ENTRY;
  for (const entries of [
    [ENTRY, { ...OTHER, id: 'web' }],
    [unnamed, { ...unnamed, ttl: '1h' }],
  ]) {
    const { status, json } = await call(api, 'POST', '/v1/entries:apply', { body: { entries } });
    t.is(status, 400);
    t.is(json.code, 'entry_invalid');
  }
  t.deepEqual(api.entries.changes, []);
});

test('issuances are found by each filter, in the forms that people copy', async (t) => {
  const api = await startApi(t);
  const certificate = await makeCertificate('leaf');
  for (let i = 1; i <= 4; i++) api.issuances.issuances.push(makeIssuance(0xab00 + i, certificate));
  const serial = api.issuances.issuances[0]?.serial ?? '';
  const colons = serial.toUpperCase().match(/../g)?.join(':');
  for (const [query, expected] of [
    [{ identity: '/web' }, { identity: 'spiffe://carnet.local/web' }],
    [{ identity: 'spiffe://other/web' }, { identity: 'spiffe://other/web' }],
    [{ instance: 'container:5' }, { instance: 'container:5' }],
    [{ serial: colons ?? '' }, { serial }],
    [{ serial: 'AB01' }, { serial }],
    [{ serial: `00${serial}` }, { serial }],
    [{ node: 'node-1' }, { node: 'node-1' }],
    [{ entry: 'web' }, { entry: 'web' }],
    [{ authority: 'issuing-1' }, { authority: 'issuing-1' }],
    [{ from: '2026-03-01T00:00:00+01:00' }, { from: new Date('2026-02-28T23:00:00Z') }],
    [{ to: '2026-03-01T00:00:00.5Z' }, { to: new Date('2026-03-01T00:00:00.500Z') }],
    [{}, {}],
  ] as const) {
    const { status } = await call(api, 'GET', `/v1/issuances?${new URLSearchParams(query)}`);
    t.is(status, 200);
    t.deepEqual(api.issuances.searches.at(-1), expected);
  }
});

test('issuances are paged to the last one, 100 at a time unless told otherwise', async (t) => {
  const api = await startApi(t);
  const certificate = await makeCertificate('leaf');
  for (let i = 1; i <= 250; i++) api.issuances.issuances.push(makeIssuance(i, certificate));
  const seen: string[] = [];
  const sizes: number[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const query: string = cursor === '' ? '' : `?cursor=${cursor}`;
    const { json } = await call(api, 'GET', `/v1/issuances${query}`, { as: 'auditor' });
    sizes.push(json.items.length);
    for (const item of json.items) seen.push(item.serial);
    cursor = json.next_cursor;
  }
  t.deepEqual(sizes, [100, 100, 50]);
  t.is(new Set(seen).size, 250);
  t.is((await call(api, 'GET', '/v1/issuances?limit=1000')).json.items.length, 250);
  const bad = await call(api, 'GET', '/v1/issuances?cursor=nonsense');
  t.is(bad.status, 400);
  t.is(bad.json.code, 'cursor_invalid');
});

test('one issuance shows its certificate, what it says, the evidence and the entry as it was', async (t) => {
  const api = await startApi(t);
  const der = await makeCertificate('leaf');
  api.issuances.issuances.push({ ...makeIssuance(0xab, der), recordedAtMicros: BigInt(NOW) * 1000n + 7n });
  const { status, json } = await call(api, 'GET', '/v1/issuances/00:AB');
  t.is(status, 200);
  t.like(json, {
    serial: 'ab'.padStart(32, '0'),
    recorded_at: '2026-03-10T12:00:00.000007Z',
    decoded: { subject: 'CN=leaf', issuer: 'CN=leaf', ca: false, public_key: 'ec prime256v1' },
    evidence: { method: 'unix', uid: 1000 },
    granted_by: { id: 'web', version: 1, selectors: ['unix:uid:1000'] },
    requester: 'agent:node-1',
  });
  t.deepEqual(new X509Certificate(json.certificate).raw, Buffer.from(der));
});

test('the bundle is a JWK Set with one x5c certificate for each root, and the same roots in PEM', async (t) => {
  const api = await startApi(t);
  api.authorities.push(await makeAuthority(), await makeAuthority({ id: 'issuing-1', kind: 'issuing' }));
  const root = Buffer.from(api.authorities[0]?.certificate ?? []);
  const { json } = await call(api, 'GET', '/v1/bundle', { as: 'none' });
  const { x, y } = new X509Certificate(root).publicKey.export({ format: 'jwk' });
  t.deepEqual(json, {
    spiffe_sequence: 3,
    spiffe_refresh_hint: 300,
    keys: [{ use: 'x509-svid', kty: 'EC', crv: 'P-256', x, y, x5c: [root.toString('base64')] }],
  });
  const pem = await call(api, 'GET', '/v1/bundle.pem', { as: 'none' });
  t.is(pem.headers.get('content-type'), 'application/x-pem-file');
  t.is(pem.text, pemOf(root));
});

test('while there is no bundle yet, asking for it may be repeated', async (t) => {
  const api = await startApi(t, { bundle: () => undefined });
  const { status, json, headers } = await call(api, 'GET', '/v1/bundle');
  t.is(status, 503);
  t.is(json.code, 'authority_unavailable');
  t.is(headers.get('retry-after'), '2');
});

test('authorities are listed in the order in which they were made', async (t) => {
  const api = await startApi(t);
  const at = (day: number) => new Date(NOW + day * 86_400_000);
  api.authorities.push(await makeAuthority({ id: 'issuing-2', kind: 'issuing', createdAt: at(2) }));
  api.authorities.push(await makeAuthority({ createdAt: at(1), state: 'draining' }));
  const { json } = await call(api, 'GET', '/v1/authorities', { as: 'auditor' });
  t.like(json.items, [
    { id: 'root-01020304', kind: 'root', state: 'draining', key_algorithm: 'ec-p256' },
    { id: 'issuing-2', kind: 'issuing', state: 'active', parent: 'root-01020304' },
  ]);
  t.false(JSON.stringify(json).includes('sealed'));
});

test('proxies are shown with what they were sent, said and wait for', async (t) => {
  const api = await startApi(t);
  const stream = api.proxies.connect('delta-sds', 'container:1', () => ['spiffe://carnet.local/web']);
  stream.named({ id: 'envoy-1', cluster: 'front', userAgent: 'envoy 1.37' });
  stream.sent('default', '7', new Date(NOW + 60_000));
  stream.acknowledged('default', '6');
  stream.rejected('default', '7', 'no such key');
  stream.waiting(['gateway/x']);
  const { json } = await call(api, 'GET', '/v1/proxies');
  t.deepEqual(json.items, [
    {
      id: '1',
      state: 'refused',
      protocol: 'delta-sds',
      instance: 'container:1',
      connected_at: '2026-03-10T12:00:00.000Z',
      node_id: 'envoy-1',
      node_cluster: 'front',
      user_agent: 'envoy 1.37',
      identities: ['spiffe://carnet.local/web'],
      resources: [
        {
          name: 'default',
          version_kept: null,
          version_sent: '7',
          sent_at: '2026-03-10T12:00:00.000Z',
          version_acknowledged: '6',
          acknowledged_at: '2026-03-10T12:00:00.000Z',
          version_observed: null,
          observed_at: null,
          last_error: { version: '7', message: 'no such key', at: '2026-03-10T12:00:00.000Z' },
          expires_at: '2026-03-10T12:01:00.000Z',
        },
      ],
      waiting: ['gateway/x'],
    },
  ]);
  stream.closed();
  t.deepEqual((await call(api, 'GET', '/v1/proxies')).json.items, []);
});

test('proxies are found by name, instance and identity, and by how they fare, the worst first', async (t) => {
  const api = await startApi(t);
  const connect = (protocol: 'sds' | 'workload-api', name: string) => {
    const stream = api.proxies.connect(protocol, `container:${name}`, () => [
      `spiffe://carnet.local/shop/${name}`,
    ]);
    stream.named({ id: `Envoy-${name}`, cluster: '', userAgent: '' });
    stream.sent('default', '7', null);
    return stream;
  };
  connect('workload-api', 'app');
  connect('sds', 'fine').acknowledged('default', '7');
  connect('sds', 'slow').acknowledged('default', '6');
  connect('sds', 'deaf');
  connect('sds', 'early').waiting(['gateway/x']);
  connect('sds', 'cross').rejected('default', '7', 'no');
  const ask = async (query: string) => {
    const { json } = await call(api, 'GET', `/v1/proxies${query}`);
    const items = json.items as { instance: string; state: string }[];
    return { json, found: items.map(({ instance, state }) => `${instance.slice(10)} ${state}`) };
  };
  const worst = await ask('?order=worst');
  t.deepEqual(worst.found, [
    'cross refused',
    'early waiting',
    'slow behind',
    'deaf behind',
    'app current',
    'fine current',
  ]);
  const { json: first, found } = await ask('?order=worst&limit=4');
  t.is(found.length, 4);
  t.deepEqual((await ask(`?order=worst&limit=4&cursor=${first.next_cursor}`)).found, worst.found.slice(4));
  t.deepEqual((await ask('?state=behind')).found, ['slow behind', 'deaf behind']);
  for (const [part, count] of [
    ['envoy-slow', 1],
    ['CONTAINER:slow', 1],
    ['/shop/', 6],
    ['nobody', 0],
  ] as const)
    t.is((await ask(`?search=${encodeURIComponent(part)}`)).found.length, count, part);
  const { json } = await ask('?search=e&state=refused');
  t.deepEqual(json.counts, { refused: 1, waiting: 1, behind: 2, current: 2 });
  t.is((await call(api, 'GET', '/v1/proxies?state=lazy')).status, 400);
});

test('rotations that are over are listed, the one begun last first, page by page', async (t) => {
  const ended = [1, 2, 3].map((id) => ({
    id,
    kind: 'root' as const,
    outcome: id === 2 ? ('aborted' as const) : ('done' as const),
    urgent: false,
    oldId: `root-${id}`,
    newId: id === 2 ? null : `root-${id + 1}`,
    actor: 'operator:ann',
    reason: 'yearly',
    startedAt: new Date(NOW + id),
    finishedAt: new Date(NOW + id + 60_000),
  }));
  const api = await startApi(t, {
    rotations: {
      pictures: async () => [],
      startOrResume: async () => undefined,
      requestStep: async () => undefined,
      ended: async () => ended,
    },
  });
  const { json } = await call(api, 'GET', '/v1/rotations/ended?limit=2', { as: 'auditor' });
  t.like(json.items, [
    { old_id: 'root-3', new_id: 'root-4', outcome: 'done', finished_at: '2026-03-10T12:01:00.003Z' },
    { old_id: 'root-2', new_id: null, outcome: 'aborted' },
  ]);
  const { json: rest } = await call(api, 'GET', `/v1/rotations/ended?cursor=${json.next_cursor}`);
  t.like(rest.items, [{ old_id: 'root-1' }]);
  t.is(rest.next_cursor, null);
});

test('what proxies hold and is not on record is listed: leaves, and bundles later than the last', async (t) => {
  const api = await startApi(t);
  const [known, sent, kept, old] = ['a', 'b', 'c', 'd'].map((digit) => digit.repeat(32)) as [
    string,
    string,
    string,
    string,
  ];
  api.issuances.issuances.push({ ...makeIssuance(1, await makeCertificate('leaf')), serial: known });
  const stream = api.proxies.connect('sds', 'container:1', () => []);
  stream.kept('default', kept);
  stream.sent('default', known, new Date(NOW + 60_000));
  stream.sent('other', sent, new Date(NOW + 60_000));
  stream.kept('ROOTCA', '4-0123456789ab');
  stream.sent('ROOTCA', '3-0123456789ab', null);
  stream.kept('nonsense', '../../x');
  const list = async () => (await call(api, 'GET', '/v1/proxies/unrecorded')).json;
  const item = (resource: string, version: string) => ({
    instance: 'container:1',
    node_id: null,
    resource,
    version,
  });
  t.deepEqual(await list(), {
    items: [item('default', kept), item('other', sent), item('ROOTCA', '4-0123456789ab')],
    count: 3,
  });
  // What it had when it connected has ended by now.
  api.time.now = NOW + 60_000;
  t.deepEqual(
    (await list()).items.map(({ resource }: { resource: string }) => resource),
    ['other', 'ROOTCA'],
  );
  stream.closed();
  const other = api.proxies.connect('sds', 'container:2', () => []);
  other.kept('default', old);
  t.is((await list()).count, 1);
});

test('proxies are paged in the order in which they connected, past ten too', async (t) => {
  const api = await startApi(t);
  for (let i = 0; i < 12; i++) api.proxies.connect('sds', `container:${i}`, () => []);
  const first = await call(api, 'GET', '/v1/proxies?limit=9');
  const second = await call(api, 'GET', `/v1/proxies?limit=9&cursor=${first.json.next_cursor}`);
  const ids = [...first.json.items, ...second.json.items].map(({ id }) => Number(id));
  t.deepEqual(ids, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  t.is(second.json.next_cursor, null);
});

test('a page goes on from its key, whatever came or went', (t) => {
  const page = (all: string[], cursor: string | null) => cutPage(all, (item) => item, { limit: 2, cursor });
  const first = page(['c', 'a', 'b', 'd'], null);
  t.deepEqual(first.items, ['a', 'b']);
  t.deepEqual(page(['a', 'aa', 'c', 'd'], first.nextCursor).items, ['c', 'd']);
  t.deepEqual(page([], first.nextCursor), { items: [], nextCursor: null });
  t.is(page(['a', 'b'], null).nextCursor, null);
  t.throws(() => page(['a'], 'a!'), { code: 'cursor_invalid' });
});

test('a token is made with its role and end, works, and is shown without its secret ever after', async (t) => {
  const api = await startApi(t);
  const body = { name: 'ci', role: 'auditor', ttl: '30d' };
  const { status, json } = await call(api, 'POST', '/v1/tokens', { body });
  t.is(status, 201);
  t.like(json, { name: 'ci', role: 'auditor', expires_at: '2026-04-09T12:00:00.000Z', revoked_at: null });
  t.regex(json.token, /^carnet_auditor_/);
  t.deepEqual(api.tokens.changes, [['operator:root', 'token.create', json.id]]);
  const bearers = { ...api.bearers, auditor: json.token };
  t.is((await call({ ...api, bearers }, 'GET', '/v1/tokens', { as: 'auditor' })).status, 200);
  const list = await call(api, 'GET', '/v1/tokens');
  t.true(list.json.items.some(({ name }: { name: string }) => name === 'ci'));
  t.false(list.text.includes(json.token));
  t.is((await call(api, 'POST', '/v1/tokens', { body })).json.code, 'already_exists');
});

test('readiness says 503 and why, then 200 again', async (t) => {
  const api = await startApi(t);
  const checks = [{ name: 'database', ok: false, detail: 'Postgres does not answer since 12:00' }];
  api.readiness.now = { ready: false, checks };
  const down = await call(api, 'GET', '/readyz', { as: 'none' });
  t.is(down.status, 503);
  t.deepEqual(down.json, { ready: false, checks });
  api.readiness.now = { ready: true, checks: [] };
  t.is((await call(api, 'GET', '/readyz', { as: 'none' })).status, 200);
});

test('metrics count requests by route and status, and take states just before the scrape', async (t) => {
  const api = await startApi(t);
  api.metrics.beforeScrape(() => api.metrics.sdsStreams.set(42));
  await call(api, 'GET', '/v1/issuances/00?x=1');
  await call(api, 'GET', '/random/path');
  const { text, headers } = await call(api, 'GET', '/metrics', { as: 'none' });
  t.regex(headers.get('content-type') ?? '', /^text\/plain; version=0\.0\.4/);
  t.regex(
    text,
    /carnet_http_requests_total\{method="GET",route="\/v1\/issuances\/\{serial\}",status="400"\} 1/,
  );
  t.regex(text, /carnet_http_requests_total\{method="GET",route="none",status="404"\} 1/);
  t.regex(text, /^carnet_sds_streams 42$/m);
  for (const name of [
    'carnet_issuances_total',
    'carnet_issue_seconds',
    'carnet_record_queue_length',
    'carnet_sds_pushes_total',
    'carnet_sds_nacks_total',
    'carnet_sds_refused_names_total',
    'carnet_leaf_renewal_failures_total',
    'carnet_leaf_expiry_seconds_min',
    'carnet_authority_expiry_timestamp_seconds',
    'carnet_attestation_failures_total',
    'carnet_database_up',
  ])
    t.true(text.includes(`# TYPE ${name} `), name);
  t.notRegex(text, /^carnet_leaf_expiry_seconds_min /m, 'nobody is connected');
});
