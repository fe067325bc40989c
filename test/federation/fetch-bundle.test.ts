import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { RequestListener, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { MAX_DOCUMENT_BYTES } from '../../src/federation/accept-bundle.ts';
import { fetchBundle } from '../../src/federation/fetch-bundle.ts';
import type { EndpointIdentity } from '../../src/federation/serve-bundle.ts';
import { parseSpiffeId } from '../../src/identity/spiffe-id.ts';
import { decodePem, encodePem } from '../../src/x509/pem.ts';
import { openssl } from '../x509/openssl.ts';
import { createDomain } from './domain.ts';

const ID = parseSpiffeId('spiffe://b.test/carnet/server');
/** Far from what a loaded machine needs for an answer at once. */
const PATIENCE_MS = 20_000;
const [B, C, WEB] = await Promise.all(['b.test', 'c.test', 'web.test'].map(createDomain));
if (B === undefined || C === undefined || WEB === undefined) throw new Error('three domains were asked for');
// Of this process alone: what a machine's administrator would install.
setDefaultCACertificates([
  ...getCACertificates('default'),
  ...WEB.bundle.x509Authorities.map((der) => encodePem('CERTIFICATE', der)),
]);
const [right, web] = [await B.leaf(ID), await WEB.leaf('spiffe://web.test/server', ['localhost'])];

test('fetches by https_spiffe from whoever has the right ID, whatever its address', async (t) => {
  const url = await serve(t, right, (_, response) => response.end(B.document()));
  t.is(await fetchBundle({ profile: 'https_spiffe', url, spiffeId: ID }, B.bundle), B.document());
});

test("fetches by https_web by the machine's own CAs and the host's name", async (t) => {
  const url = await serve(t, web, (_, response) => response.end(B.document()));
  t.is(
    await fetchBundle({ profile: 'https_web', url: url.replace('127.0.0.1', 'localhost') }, null),
    B.document(),
  );
  await t.throwsAsync(fetchBundle({ profile: 'https_web', url }, null), { code: 'unavailable' });
});

for (const [who, identity, known] of [
  ['another ID of the trust domain', await B.leaf('spiffe://b.test/web'), B.bundle],
  ['the right ID, signed by another trust domain', await C.leaf(ID), B.bundle],
  ["another trust domain's own", await C.leaf('spiffe://c.test/carnet/server'), C.bundle],
  ['a certificate of the public CAs', web, B.bundle],
  ['the right ID, while nothing is known that could verify it', right, null],
] as const)
  test(`takes nothing by https_spiffe from ${who}`, async (t) => {
    const url = await serve(t, identity, () => t.fail('it was asked'));
    await t.throwsAsync(fetchBundle({ profile: 'https_spiffe', url, spiffeId: ID }, known), {
      code: 'unavailable',
    });
  });

for (const [what, code, answer] of [
  [
    'a redirect, also to itself',
    'unavailable',
    (response) => response.writeHead(302, { location: '/' }).end(),
  ],
  ['a failure', 'unavailable', (response) => response.writeHead(500).end('{"keys": []}')],
  ['a partial answer', 'unavailable', (response) => response.writeHead(206).end('{"keys": []}')],
  [
    'an encoding that was not asked for',
    'unavailable',
    (response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(),
  ],
  ['what is not UTF-8', 'invalid_argument', (response) => response.end(Buffer.from([0x7b, 0xff]))],
  [
    'an answer that breaks off',
    'unavailable',
    (response) => {
      response.writeHead(200, { 'content-length': '100' }).write('{');
      setImmediate(() => response.destroy());
    },
  ],
  [
    'an answer without an end',
    'too_large',
    (response) => {
      const more = (): void => {
        while (response.write(Buffer.alloc(MAX_DOCUMENT_BYTES / 4, ' ')));
        response.once('drain', more);
      };
      more();
    },
  ],
] as [string, string, (response: ServerResponse) => void][])
  test(`takes nothing from an endpoint that answers with ${what}`, async (t) => {
    const url = await serve(t, right, (_, response) => answer(response));
    const fetched = fetchBundle({ profile: 'https_spiffe', url, spiffeId: ID }, B.bundle, {
      timeoutMs: PATIENCE_MS,
    });
    await t.throwsAsync(fetched, { code });
  });

for (const [what, answer] of [
  ['never answers', () => undefined],
  ['never ends its answer', (response) => response.write('{')],
] as [string, (response: ServerResponse) => void][])
  test(`gives up an endpoint that ${what}`, async (t) => {
    const url = await serve(t, right, (_, response) => answer(response));
    const fetched = fetchBundle({ profile: 'https_spiffe', url, spiffeId: ID }, B.bundle, { timeoutMs: 300 });
    await t.throwsAsync(fetched, { code: 'timeout' });
  });

test('takes nothing by https_spiffe from a certificate that only OpenSSL can read', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'carnet-fetch-'));
  t.teardown(() => rm(directory, { recursive: true, force: true }));
  const path = (name: string): string => join(directory, name);
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const ca = ['-x509', '-subj', '/CN=b', '-days', '1', '-keyout', path('ca.key'), '-out', path('ca.pem')];
  const csr = ['-new', '-subj', '/CN=leaf', '-keyout', path('key.pem'), '-out', path('csr.pem')];
  for (const args of [ca, csr]) t.is(openssl(['req', ...key, ...args]).status, 0);
  // Without extensions it is of version 1.
  const signed = ['-CA', path('ca.pem'), '-CAkey', path('ca.key'), '-set_serial', '7', '-days', '1'];
  t.is(openssl(['x509', '-req', '-in', path('csr.pem'), ...signed, '-out', path('leaf.pem')]).status, 0);
  const [chain, privateKey, root] = await Promise.all(
    ['leaf.pem', 'key.pem', 'ca.pem'].map((name) => readFile(path(name), 'utf8')),
  );
  const known = { ...B.bundle, x509Authorities: decodePem('CERTIFICATE', root ?? '') };
  const url = await serve(t, { chain: chain ?? '', privateKey: privateKey ?? '' }, () =>
    t.fail('it was asked'),
  );
  const error = await t.throwsAsync(fetchBundle({ profile: 'https_spiffe', url, spiffeId: ID }, known), {
    code: 'unavailable',
  });
  t.regex(error?.message ?? '', /cannot be read/);
});

for (const [what, isCa] of [
  ['takes nothing by https_spiffe from a CA that has the right ID', true],
  ['takes by https_spiffe what a CA with the right ID would be, were it none', false],
] as const)
  test(what, async (t) => {
    const directory = await mkdtemp(join(tmpdir(), 'carnet-fetch-'));
    t.teardown(() => rm(directory, { recursive: true, force: true }));
    const [key, certificate] = [join(directory, 'key.pem'), join(directory, 'certificate.pem')];
    const made = openssl([
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1'],
      ...['-subj', '/CN=b', '-addext', `subjectAltName=URI:${ID}`, '-keyout', key, '-out', certificate],
      ...['-addext', `basicConstraints=critical,CA:${isCa ? 'TRUE' : 'FALSE'}`],
    ]);
    t.is(made.status, 0, made.stderr);
    const chain = await readFile(certificate, 'utf8');
    const url = await serve(t, { chain, privateKey: await readFile(key, 'utf8') }, (_, response) =>
      response.end(B.document()),
    );
    const known = { ...B.bundle, x509Authorities: decodePem('CERTIFICATE', chain) };
    const fetched = fetchBundle({ profile: 'https_spiffe', url, spiffeId: ID }, known);
    if (isCa) await t.throwsAsync(fetched, { code: 'unavailable', message: /its certificate is of/ });
    else t.is(await fetched, B.document());
  });

test('gives up at once when the server stops', async (t) => {
  const stopping = new AbortController();
  const url = await serve(t, right, () => stopping.abort());
  const fetched = fetchBundle({ profile: 'https_spiffe', url, spiffeId: ID }, B.bundle, {
    timeoutMs: PATIENCE_MS,
    stopping: stopping.signal,
  });
  await t.throwsAsync(fetched, { code: 'shutting_down' });
});

async function serve(
  t: ExecutionContext,
  { chain, privateKey }: EndpointIdentity,
  answer: RequestListener,
): Promise<string> {
  const server = createServer({ cert: chain, key: privateKey }, answer).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}
