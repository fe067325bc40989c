import { once } from 'node:events';
import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import test, { type ExecutionContext } from 'ava';
import { agentHealthHandler } from '../../src/cli/agent-health.ts';
import { createLogger } from '../../src/log.ts';

async function serve(t: ExecutionContext, ready: boolean, scrape = async () => 'carnet_agent_link_up 1\n') {
  const handler = agentHealthHandler({
    readiness: () => ({ ready, checks: [{ name: 'serving', ok: ready, detail: 'why' }] }),
    metrics: { scrape, contentType: 'text/plain; version=0.0.4' as never },
    host: '127.0.0.1',
    log: createLogger('fatal'),
  });
  const server = createServer(handler).listen(0, '127.0.0.1');
  t.teardown(() => server.close());
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return async (path: string, method = 'GET', host = 'localhost') => {
    const sent = request({ host: '127.0.0.1', port, path, method, headers: { host } });
    sent.end();
    const [response] = await once(sent, 'response');
    return { status: response.statusCode as number, body: await text(response) };
  };
}

test('health is always good, readiness says why it is not, and metrics are there', async (t) => {
  const [ready, unready] = [await serve(t, true), await serve(t, false)];
  t.is((await unready('/healthz')).status, 200);
  t.is((await ready('/readyz')).status, 200);
  const { status, body } = await unready('/readyz?verbose');
  t.is(status, 503);
  t.deepEqual(JSON.parse(body), { ready: false, checks: [{ name: 'serving', ok: false, detail: 'why' }] });
  t.is((await ready('/metrics')).body, 'carnet_agent_link_up 1\n');
  t.is((await ready('/metrics', 'HEAD')).body, '');
});

test('nothing else is answered, nor a page of another site that points its name here', async (t) => {
  const ask = await serve(t, true);
  t.is((await ask('/')).status, 404);
  t.is((await ask('/constructor')).status, 404);
  t.is((await ask('/metrics', 'POST')).status, 405);
  t.is((await ask('/metrics', 'GET', 'evil.example')).status, 403);
});

test('a failure is answered without its words', async (t) => {
  const ask = await serve(t, true, () => Promise.reject(new Error('a secret')));
  t.deepEqual(await ask('/metrics'), { status: 500, body: 'internal error\n' });
});
