import 'reflect-metadata';
import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { SubjectAlternativeNameExtension, X509CertificateGenerator } from '@peculiar/x509';
import test from 'ava';
import { type CarnetProcess, directoryOf, startCarnet } from '../support/carnet.ts';
import { freePort } from '../support/free-port.ts';
import { until } from '../support/until.ts';

const OWN = `spiffe://carnet.local/user/${/^[a-zA-Z0-9][a-zA-Z0-9._-]*$/.test(userInfo().username) ? userInfo().username : `uid-${userInfo().uid}`}`;
const PLAIN = 'spiffe://carnet.local/plain';
const HIGH = 'spiffe://carnet.local/people/boss';
const WEB_URL = 'https://carnet.example';

interface Shown {
  readonly cert: string;
  readonly key: string;
}

interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: a JSON document
  readonly json: any;
}

const port = await freePort();
const roles = `operator=${OWN},admin=${HIGH}`;
const carnet = await startCarnet([
  ...['--https-addr', `127.0.0.1:${port}`, '--https-dns-name', 'carnet.example'],
  ...['--identity-role', roles, '--web-url', WEB_URL],
]);
const directory = await directoryOf(undefined);
const bundle = await (await fetch(`${carnet.url}/v1/bundle.pem`)).text();
await carnet.call('POST', '/v1/entries', {
  id: 'plain',
  spiffe_id: '/plain',
  selectors: [`unix:uid:${process.getuid?.()}`],
});
test.after.always(() => carnet[Symbol.asyncDispose]());

test.serial('an identity with a role does what the role may, by its certificate', async (t) => {
  const own = await fetchIdentity(carnet, OWN);
  const who = await call('GET', '/v1/session', own);
  t.like(who.json, { actor: `operator:${OWN}`, role: 'operator', session: false, csrf: null });
  const made = await call('POST', '/v1/entries', own, {
    spiffe_id: '/made',
    selectors: ['unix:uid:4242'],
    id: 'made',
  });
  t.is(made.status, 201, JSON.stringify(made.json));
  t.is((await call('GET', '/v1/tokens', own)).status, 403);
  t.is((await call('POST', '/v1/session', own)).status, 409);
  const { items } = (await carnet.call('GET', '/v1/operator-events?subject=made')) as {
    items: { actor: string }[];
  };
  t.is(items[0]?.actor, `operator:${OWN}`);
});

test.serial('an identity without a role, and nobody, may what is for everybody', async (t) => {
  const plain = await fetchIdentity(carnet, PLAIN);
  const refused = await call('GET', '/v1/entries', plain);
  t.is(refused.status, 403);
  t.regex(refused.json.detail, /plain has no role here/);
  t.is((await call('GET', '/v1/entries', null)).status, 401);
  for (const shown of [plain, null]) t.is((await call('GET', '/v1/bundle', shown)).status, 200);
});

test.serial('a certificate of nobody that we know is refused', async (t) => {
  const foreign = await selfSigned();
  const refused = await call('GET', '/v1/entries', foreign);
  t.is(refused.status, 401);
  t.regex(refused.json.detail, /client certificate is not accepted/);
});

test.serial('who writes entries writes none that would give him a role', async (t) => {
  const own = await fetchIdentity(carnet, OWN);
  for (const spiffe_id of ['/people/boss', '/people/{user}', '/{user}/boss', HIGH]) {
    const entry = { spiffe_id, selectors: [`unix:uid:${process.getuid?.()}`] };
    for (const [path, body] of [
      ['/v1/entries', entry],
      ['/v1/entries:apply', { entries: [{ spiffe_id: '/other', selectors: ['unix:uid:7'] }, entry] }],
    ] as const) {
      const refused = await call('POST', path, own, body);
      t.is(refused.status, 403, `${path} ${spiffe_id}`);
      t.regex(refused.json.detail, /people\/boss has a role by --identity-role/);
    }
  }
  const beside = { spiffe_id: '/people/{user}/x', selectors: ['unix:uid:4243'] };
  t.is((await call('POST', '/v1/entries', own, beside)).status, 201);
  const limited = (await carnet.call('POST', '/v1/tokens', {
    name: 'writer',
    role: 'admin',
    scopes: ['entries:write'],
  })) as { token: string };
  const entry = { spiffe_id: HIGH, selectors: ['unix:uid:4244'] };
  const bearer = { authorization: `Bearer ${limited.token}` };
  t.is((await call('POST', '/v1/entries', null, entry, bearer)).status, 403);
});

test.serial('who writes entries ends none that gives somebody a role', async (t) => {
  const own = await fetchIdentity(carnet, OWN);
  const selectors = ['unix:uid:4250'];
  await carnet.call('POST', '/v1/entries', { id: 'high', spiffe_id: HIGH, selectors });
  const before = await carnet.call('GET', '/v1/entries?limit=1000');
  const another = { id: 'plain', spiffe_id: '/plain', selectors: ['unix:uid:4251'] };
  for (const [method, path, body] of [
    ['DELETE', '/v1/entries/high', undefined],
    ['POST', '/v1/entries:apply', { entries: [{ id: 'high', spiffe_id: '/elsewhere', selectors }] }],
    ['POST', '/v1/entries:apply', { entries: [another], prune: true }],
  ] as const) {
    const refused = await call(method, path, own, body);
    t.is(refused.status, 403, `${method} ${path}`);
    t.regex(refused.json.detail, /may neither write nor delete/);
  }
  t.is((await call('DELETE', '/v1/entries/none', own)).status, 404);
  t.deepEqual(await carnet.call('GET', '/v1/entries?limit=1000'), before);
});

test.serial("another site's page has no use of the certificate that a browser shows", async (t) => {
  const own = await fetchIdentity(carnet, OWN);
  const body = { spiffe_id: '/by-page', selectors: ['unix:uid:4245'] };
  for (const [headers, status] of [
    [{ origin: 'https://evil.example' }, 403],
    [{ origin: 'https://evil.example', host: 'carnet.example' }, 403],
    [{ 'sec-fetch-site': 'cross-site' }, 403],
    [{ origin: WEB_URL, 'sec-fetch-site': 'same-origin', host: 'carnet.example' }, 201],
  ] as const)
    t.is((await call('POST', '/v1/entries', own, body, headers)).status, status, JSON.stringify(headers));
});

test.serial('a token that is shown counts, not the certificate', async (t) => {
  const own = await fetchIdentity(carnet, OWN);
  const token = readFileSync(join(carnet.dataDir, 'auditor.token'), 'utf8').trim();
  const who = await call('GET', '/v1/session', own, undefined, { authorization: `Bearer ${token}` });
  t.is(who.json.role, 'auditor');
});

test.serial('a revoked certificate is refused, on a connection that stands too', async (t) => {
  const own = await fetchIdentity(carnet, OWN);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  const read = () => call('GET', '/v1/entries', own, undefined, {}, agent);
  t.is((await read()).status, 200);
  const { serial } = await identityOf(OWN);
  await carnet.call('POST', '/v1/revocations', { serial, reason: 'test' });
  await until('it is refused', async () => (await read()).status === 401);
  const refused = await read();
  t.regex(refused.json.detail, /is revoked/);
});

/** It says that it is the one that has a role, and nobody signed it but itself. */
async function selfSigned(): Promise<Shown> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await crypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    serialNumber: '0a',
    name: 'CN=stranger',
    notBefore: new Date(Date.now() - 60_000),
    notAfter: new Date(Date.now() + 3600_000),
    signingAlgorithm: algorithm,
    keys,
    extensions: [new SubjectAlternativeNameExtension([{ type: 'url', value: OWN }])],
  });
  const key = Buffer.from(await crypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  return {
    cert: certificate.toString('pem'),
    key: `-----BEGIN PRIVATE KEY-----\n${key}\n-----END PRIVATE KEY-----\n`,
  };
}

/** What `carnet fetch --write` leaves for programs. */
async function fetchIdentity(server: CarnetProcess, id: string): Promise<Shown> {
  const { code, stderr } = await server.cli('fetch', '--identity', id, '--write', directory);
  if (code !== 0) throw new Error(stderr);
  const [cert, key] = ['svid.pem', 'svid.key'].map((name) => readFileSync(join(directory, name), 'utf8'));
  return { cert: cert ?? '', key: key ?? '' };
}

async function identityOf(id: string): Promise<{ serial: string }> {
  const { items } = (await carnet.call(
    'GET',
    `/v1/issuances?identity=${encodeURIComponent(id)}&limit=1`,
  )) as {
    items: { serial: string }[];
  };
  return items[0] ?? { serial: '' };
}

/** Over TLS, by the bundle and the DNS name of the server's certificate. */
function call(
  method: string,
  path: string,
  shown: Shown | null,
  body?: unknown,
  headers: Record<string, string> = {},
  agent: Agent | false = false,
): Promise<Answer> {
  const type = body === undefined ? {} : { 'content-type': 'application/json' };
  return new Promise((resolve, reject) => {
    request(
      {
        ...shown,
        host: '127.0.0.1',
        port,
        method,
        path,
        ca: bundle,
        servername: 'carnet.example',
        agent,
        headers: { ...type, ...headers },
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, json: JSON.parse(text) }));
      },
    )
      .on('error', reject)
      .end(body === undefined ? '' : JSON.stringify(body));
  });
}
