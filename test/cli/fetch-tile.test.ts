import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { tilesAt } from '../../src/cli/fetch-tile.ts';

async function serve(t: ExecutionContext, answer: RequestListener): Promise<string> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/log/`;
}

test('a tile that does not end is not read to its end', async (t) => {
  const url = await serve(t, (_request, response) => {
    const more = (): void => {
      while (!response.destroyed && response.write(Buffer.alloc(4096)));
    };
    response.on('drain', more);
    more();
  });
  await t.throwsAsync(tilesAt(url)('0/000'), { code: 'too_large', message: /is longer than a tile/ });
});

test('a tile is read whole, after a wait that was asked for in no number', async (t) => {
  const tile = Buffer.alloc(8192, 7);
  let asked = 0;
  const url = await serve(t, (_request, response) => {
    if (asked++ === 0) response.writeHead(429, { 'retry-after': 'Fri, 31 Dec 1999 23:59:59 GMT' }).end();
    else response.end(tile);
  });
  t.deepEqual(Buffer.from(await tilesAt(url)('0/000')), tile);
  t.is(asked, 2);
});
