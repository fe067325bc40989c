import { once } from 'node:events';
import { connect as connectTcp } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { fetchBundle } from '../../src/federation/fetch-bundle.ts';
import { type BundleEndpointOptions, serveBundle } from '../../src/federation/serve-bundle.ts';
import { parseBundle } from '../../src/identity/bundle-document.ts';
import { parseSpiffeId } from '../../src/identity/spiffe-id.ts';
import { createLogger } from '../../src/log.ts';
import { createDomain } from './domain.ts';

const ID = parseSpiffeId('spiffe://b.test/carnet/server');
const B = await createDomain('b.test');

test('gives the bundle with its sequence and refresh hint to whoever asks, and counts them', async (t) => {
  let served = 0;
  const url = await serve(t, { onServed: () => served++ });
  const response = await fetch(url);
  t.is(response.headers.get('content-type'), 'application/json');
  t.like(parseBundle(await response.text()), { sequence: 1n, refreshHintSeconds: 60 });
  t.is(served, 1);
});

for (const [what, path, init, status] of [
  ['another path', 'bundle', {}, 404],
  ['another method', '', { method: 'POST', body: '{}' }, 405],
  ['HEAD', '', { method: 'HEAD' }, 200],
] as const)
  test(`answers ${what} with ${status}, and counts nobody`, async (t) => {
    const url = await serve(t, { onServed: () => t.fail() });
    t.is((await fetch(url + path, init)).status, status);
  });

test('says so while there is no bundle yet', async (t) => {
  const url = await serve(t, { bundle: () => undefined });
  t.is((await fetch(url)).status, 503);
});

test('by https_spiffe it shows the certificate that it has at each handshake', async (t) => {
  let identity = await B.leaf('spiffe://b.test/before');
  const url = await serve(t, { identity: () => identity });
  const endpoint = { profile: 'https_spiffe', url, spiffeId: ID } as const;
  await t.throwsAsync(fetchBundle(endpoint, B.bundle), { message: /spiffe:\/\/b\.test\/before/ });
  identity = await B.leaf(ID);
  t.is(JSON.parse(await fetchBundle(endpoint, B.bundle)).spiffe_sequence, 1);
});

test('a caller who says nothing is cut off', async (t) => {
  const url = await serve(t, {});
  const socket = connectTcp(Number(new URL(url).port), '127.0.0.1');
  socket.resume();
  await once(socket, 'close');
  t.pass();
});

async function serve(t: ExecutionContext, options: Partial<BundleEndpointOptions>): Promise<string> {
  const endpoint = await serveBundle({
    address: { host: '127.0.0.1', port: 0 },
    bundle: () => B.bundle,
    refreshHintSeconds: 60,
    identity: null,
    onServed: () => undefined,
    log: createLogger('fatal'),
    ...options,
  });
  t.teardown(() => endpoint.close(0));
  return endpoint.url;
}
