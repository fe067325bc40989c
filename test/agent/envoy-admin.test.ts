import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { readCerts } from '../../src/agent/envoy-admin.ts';

const PAGE = '{"certificates":[]}';

/** Everybody's parent: a process that is there, and does not listen where we do. */
const SOMEBODY_ELSE = 1;

for (const kind of ['TCP', 'IPv6', 'Unix'] as const) {
  test(`${kind}: the caller's own admin interface is asked for its certificates, and for nothing else`, async (t) => {
    const { address, requests } = await serve(t, kind, (_, response) => response.end(PAGE));
    t.is(await readCerts(process.pid, address), PAGE);
    t.deepEqual(requests, ['GET /certs']);
  });

  test(`${kind}: what another process listens on is not asked`, async (t) => {
    const { address, requests } = await serve(t, kind, (_, response) => response.end(PAGE));
    await t.throwsAsync(readCerts(SOMEBODY_ELSE, address), { code: 'permission_denied' });
    t.deepEqual(requests, []);
  });
}

test('a port of loopback is not even connected to on behalf of another process', async (t) => {
  const { address, server } = await serve(t, 'TCP', (_, response) => response.end(PAGE));
  let connections = 0;
  server.on('connection', () => connections++);
  await t.throwsAsync(readCerts(SOMEBODY_ELSE, address), { code: 'permission_denied' });
  t.is(await readCerts(process.pid, address), PAGE);
  t.is(connections, 1);
});

for (const address of ['10.0.0.1:80', 'example.org:80', 'relative.sock'])
  test(`${address} is not asked`, async (t) => {
    await t.throwsAsync(readCerts(process.pid, address), { code: 'permission_denied' });
  });

const ANSWERS: readonly [what: string, RequestListener][] = [
  ['an error', (_, response) => response.writeHead(404).end(PAGE)],
  ['a redirection', (_, response) => response.writeHead(302, { location: '/quitquitquit' }).end()],
  ['an answer without end', (_, response) => void response.write(PAGE)],
  ['no answer', () => undefined],
  ['three MiB', (_, response) => response.end(Buffer.alloc(3 << 20, ' '))],
  ['a broken connection', (request) => request.socket.destroy()],
];

for (const [what, listener] of ANSWERS)
  test(`${what} is no answer`, async (t) => {
    const { address, requests } = await serve(t, 'Unix', listener);
    await t.throwsAsync(readCerts(process.pid, address), { code: 'unavailable' });
    t.deepEqual(requests, ['GET /certs']);
  });

test('nobody there is no answer', async (t) => {
  await t.throwsAsync(readCerts(process.pid, join(tmpdir(), 'carnet-nobody.sock')), { code: 'unavailable' });
  await t.throwsAsync(readCerts(process.pid, '127.0.0.1:1'), { code: 'permission_denied' });
});

async function serve(
  t: ExecutionContext,
  kind: 'TCP' | 'IPv6' | 'Unix',
  listener: RequestListener,
): Promise<{ address: string; requests: string[]; server: Server }> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(`${request.method} ${request.url}`);
    listener(request, response);
  });
  const directory = mkdtempSync(join(tmpdir(), 'carnet-admin-'));
  const path = join(directory, 'admin.sock');
  if (kind === 'Unix') server.listen(path);
  else server.listen(0, kind === 'TCP' ? '127.0.0.1' : '::1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
    rmSync(directory, { recursive: true });
  });
  const bound = server.address();
  const port = typeof bound === 'object' ? bound?.port : 0;
  const address = kind === 'Unix' ? path : `${kind === 'TCP' ? '127.0.0.1' : '[::1]'}:${port}`;
  return { address, requests, server };
}
