import test from 'ava';
import { encodePem } from '../../src/x509/pem.ts';
import {
  assertDocumented,
  call,
  ENTRY,
  makeAuthority,
  makeCertificate,
  makeIssuance,
  startApi,
} from './harness.ts';
import { sinkState } from './memory-sinks.ts';

const SINK_POSITION = '/v1/sinks/{name}/position';
const ONE_FEDERATION = '/v1/federation/{trust_domain}';

test('every answer of every endpoint is as the OpenAPI document says', async (t) => {
  const api = await startApi(t);
  api.authorities.push(await makeAuthority());
  api.issuances.issuances.push(makeIssuance(10, await makeCertificate('leaf')));
  const stream = api.proxies.connect('sds', 'container:1', () => ['spiffe://carnet.local/web']);
  stream.named({ id: 'envoy-1', cluster: 'front', userAgent: 'envoy' });
  stream.sent('default', '1', new Date(api.time.now));
  stream.acknowledged('default', '1');
  stream.rejected('ROOTCA', '1', 'no');
  stream.waiting(['gateway/x']);

  api.operatorEvents.events.push({
    actor: 'operator:root',
    action: 'entry.create',
    subject: 'web',
    before: null,
    after: { id: 'web', version: 1 },
    reason: '',
    recordedAtMicros: 1_773_144_000_000_000n,
    logIndex: 4,
  });
  api.agents.add('web-1');
  api.auditLog.entriesInLog = [Buffer.from('entry')];

  api.sinks.sinks.push(sinkState());

  const { json: document } = await call(api, 'GET', '/v1/openapi.json', { as: 'none' });
  const exchanges: [method: string, path: string, called: string, body: unknown, status: number][] = [
    ['GET', '/v1/entries', '/v1/entries', undefined, 200],
    ['POST', '/v1/entries', '/v1/entries', ENTRY, 201],
    ['POST', '/v1/entries', '/v1/entries', ENTRY, 409],
    [
      'POST',
      '/v1/entries:apply',
      '/v1/entries:apply',
      { entries: [{ ...ENTRY, ttl: '1h' }], dry_run: true },
      200,
    ],
    ['POST', '/v1/entries:apply', '/v1/entries:apply', { entries: [{ ...ENTRY, ttl: '1h' }] }, 200],
    ['DELETE', '/v1/entries/{id}', '/v1/entries/web', undefined, 200],
    ['DELETE', '/v1/entries/{id}', '/v1/entries/web', undefined, 404],
    ['GET', '/v1/issuances', '/v1/issuances?limit=1', undefined, 200],
    ['GET', '/v1/issuances/{serial}', `/v1/issuances/${(10).toString(16).padStart(32, '0')}`, undefined, 200],
    ['GET', '/v1/issuances/{serial}', '/v1/issuances/00', undefined, 404],
    ['GET', '/v1/issuances/{serial}/evidence', '/v1/issuances/00/evidence', undefined, 404],
    [
      'GET',
      '/v1/issuances/{serial}/explanation',
      `/v1/issuances/${(10).toString(16).padStart(32, '0')}/explanation`,
      undefined,
      200,
    ],
    ['GET', '/v1/issuances/{serial}/explanation', '/v1/issuances/00/explanation', undefined, 404],
    ['GET', '/v1/reports/issuances', '/v1/reports/issuances?by=day', undefined, 200],
    ['GET', '/v1/reports/issuances', '/v1/reports/issuances?by=colour', undefined, 400],
    ['GET', '/v1/reports/granted', '/v1/reports/granted?entry=web&limit=2', undefined, 200],
    ['GET', '/v1/reports/granted', '/v1/reports/granted?entry=web&cursor=!', undefined, 400],
    ['GET', '/v1/reports/expiries', '/v1/reports/expiries?hours=3', undefined, 200],
    ['GET', '/v1/operator-events', '/v1/operator-events', undefined, 200],
    ['GET', '/v1/authorities', '/v1/authorities', undefined, 200],
    ['GET', '/v1/proxies', '/v1/proxies', undefined, 200],
    ['GET', '/v1/fleet', '/v1/fleet', undefined, 200],
    ['GET', '/v1/proxies/unrecorded', '/v1/proxies/unrecorded', undefined, 200],
    ['GET', '/v1/bundle', '/v1/bundle', undefined, 200],
    ['GET', '/v1/bundle.pem', '/v1/bundle.pem', undefined, 200],
    ['GET', '/v1/jwt-keys', '/v1/jwt-keys', undefined, 200],
    ['GET', '/.well-known/openid-configuration', '/.well-known/openid-configuration', undefined, 200],
    ['GET', '/keys', '/keys', undefined, 200],
    ['GET', '/v1/tokens', '/v1/tokens', undefined, 200],
    ['POST', '/v1/tokens', '/v1/tokens', { name: 'ci', role: 'auditor', ttl: '30d' }, 201],
    ['POST', '/v1/tokens', '/v1/tokens', { name: 'ci', role: 'nobody' }, 400],
    ['DELETE', '/v1/tokens/{id}', '/v1/tokens/token-2', undefined, 200],
    ['GET', '/v1/join-tokens', '/v1/join-tokens', undefined, 200],
    ['POST', '/v1/join-tokens', '/v1/join-tokens', { node: 'web-1', ttl: '1h' }, 201],
    ['POST', '/v1/join-tokens', '/v1/join-tokens', { node: 'Web 1' }, 400],
    ['DELETE', '/v1/join-tokens/{id}', '/v1/join-tokens/none', undefined, 404],
    ['GET', '/v1/agents', '/v1/agents', undefined, 200],
    ['POST', '/v1/agents/{node}/ban', '/v1/agents/web-1/ban', { reason: 'stolen' }, 200],
    ['POST', '/v1/agents/{node}/ban', '/v1/agents/web-2/ban', { reason: 'stolen' }, 404],
    ['POST', '/v1/agents/{node}/unban', '/v1/agents/web-1/unban', undefined, 200],
    ['GET', '/v1/rotations', '/v1/rotations', undefined, 200],
    ['GET', '/v1/rotations/ended', '/v1/rotations/ended', undefined, 200],
    ['POST', '/v1/rotations', '/v1/rotations', { kind: 'root', reason: 'yearly' }, 200],
    ['POST', '/v1/rotations/{kind}', '/v1/rotations/root', { request: 'activate' }, 200],
    ['POST', '/v1/rotations/{kind}', '/v1/rotations/root', { request: 'nonsense' }, 400],
    ['POST', '/v1/federation', '/v1/federation', { trust_domain: 'b.test', bundle: '{"keys": []}' }, 201],
    ['POST', '/v1/federation', '/v1/federation', { trust_domain: 'b.test', bundle: '{"keys": []}' }, 409],
    ['GET', '/v1/federation', '/v1/federation', undefined, 200],
    ['GET', ONE_FEDERATION, '/v1/federation/b.test', undefined, 200],
    ['GET', ONE_FEDERATION, '/v1/federation/c.test', undefined, 404],
    ['POST', `${ONE_FEDERATION}/bundle`, '/v1/federation/b.test/bundle', { bundle: '{"keys": []}' }, 200],
    ['POST', `${ONE_FEDERATION}/bundle`, '/v1/federation/b.test/bundle', { bundle: '{}' }, 400],
    ['POST', `${ONE_FEDERATION}/refresh`, '/v1/federation/b.test/refresh', undefined, 503],
    ['DELETE', ONE_FEDERATION, '/v1/federation/b.test', undefined, 200],
    ['POST', '/v1/upstream/request', '/v1/upstream/request', undefined, 200],
    [
      'POST',
      '/v1/upstream/import',
      '/v1/upstream/import',
      { certificates: encodePem('CERTIFICATE', Uint8Array.of(0x30, 0)) },
      200,
    ],
    ['POST', '/v1/upstream/import', '/v1/upstream/import', { certificates: 'none' }, 400],
    ['POST', '/v1/revocations', '/v1/revocations', { identity: 'spiffe://carnet.local/web' }, 201],
    ['POST', '/v1/revocations', '/v1/revocations', { identity: 'spiffe://carnet.local/web', node: 'n' }, 400],
    ['GET', '/v1/revocations', '/v1/revocations', undefined, 200],
    ['DELETE', '/v1/revocations/{id}', '/v1/revocations/1', undefined, 404],
    ['GET', '/crl/{authority}.crl', '/crl/root-01020304.crl', undefined, 200],
    ['GET', '/crl/{authority}.crl', '/crl/none.crl', undefined, 404],
    ['GET', '/ca/{authority}.cer', '/ca/root-01020304.cer', undefined, 200],
    ['GET', '/ca/{authority}.cer', '/ca/none.cer', undefined, 404],
    ['GET', '/v1/log', '/v1/log', undefined, 200],
    ['GET', '/v1/session', '/v1/session', undefined, 200],
    ['POST', '/v1/session', '/v1/session', undefined, 201],
    ['DELETE', '/v1/session', '/v1/session', undefined, 409],
    ['GET', '/v1/sessions', '/v1/sessions', undefined, 200],
    ['DELETE', '/v1/sessions/{id}', '/v1/sessions/none', undefined, 404],
    ['GET', '/v1/session/methods', '/v1/session/methods', undefined, 200],
    ['GET', '/v1/session/oidc', '/v1/session/oidc', undefined, 404],
    ['GET', '/v1/session/oidc/callback', '/v1/session/oidc/callback', undefined, 404],
    ['GET', '/v1/export/{kind}', '/v1/export/all', undefined, 200],
    ['GET', '/v1/export/{kind}', '/v1/export/all?format=csv', undefined, 200],
    ['GET', '/v1/export/{kind}', '/v1/export/none', undefined, 400],
    ['GET', '/v1/retention', '/v1/retention', undefined, 200],
    ['POST', '/v1/holds', '/v1/holds', { identity: '/web', reason: 'case 12' }, 201],
    ['POST', '/v1/holds', '/v1/holds', { identity: '/web' }, 400],
    ['GET', '/v1/holds', '/v1/holds', undefined, 200],
    ['POST', '/v1/holds/{id}/release', '/v1/holds/1/release', { reason: 'closed' }, 200],
    ['POST', '/v1/holds/{id}/release', '/v1/holds/9/release', { reason: 'closed' }, 404],
    ['GET', '/log/checkpoint', '/log/checkpoint', undefined, 200],
    ['GET', '/log/vkey', '/log/vkey', undefined, 200],
    ['GET', '/log/tile/{level}/{tile}', '/log/tile/0/000.p/1', undefined, 200],
    ['GET', '/log/tile/{level}/{tile}', '/log/tile/0/000', undefined, 404],
    ['GET', '/log/tile/entries/{tile}', '/log/tile/entries/000.p/1', undefined, 200],
    ['GET', '/v1/sinks', '/v1/sinks', undefined, 200],
    ['POST', SINK_POSITION, '/v1/sinks/webhook/position', { position: 3, reason: 'again' }, 200],
    ['POST', SINK_POSITION, '/v1/sinks/webhook/position', { position: -1, reason: 'again' }, 400],
    ['POST', SINK_POSITION, '/v1/sinks/none/position', { position: 3, reason: 'again' }, 404],
    ['GET', '/healthz', '/healthz', undefined, 200],
    ['GET', '/readyz', '/readyz', undefined, 200],
    ['GET', '/metrics', '/metrics', undefined, 200],
    ['GET', '/v1/openapi.json', '/v1/openapi.json', undefined, 200],
  ];
  for (const [method, path, called, body, status] of exchanges) {
    const answer = await call(api, method, called, { body });
    t.is(answer.status, status, `${method} ${called}: ${answer.text}`);
    assertDocumented(t, document, [method, path], answer);
  }
  const documented = Object.entries<object>(document.paths).flatMap(([path, operations]) =>
    Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`),
  );
  const called = new Set(exchanges.map(([method, path]) => `${method} ${path}`));
  t.deepEqual([...called].sort(), documented.sort());
});

test('the document names only schemas that it has', async (t) => {
  const api = await startApi(t);
  const { json: document, text } = await call(api, 'GET', '/v1/openapi.json', { as: 'none' });
  const references = [...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, target = '']) => target);
  t.true(references.length > 10);
  for (const target of references)
    t.truthy(document.components.schemas[target.split('/').at(-1) ?? ''], target);
  t.is(document.openapi, '3.1.0');
});
