import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Writable } from 'node:stream';
import test from 'ava';
import Koa from 'koa';
import { serveHttp } from '../../src/api/http-server.ts';
import { createLogger } from '../../src/log.ts';
import { call, startApi } from './harness.ts';

const LOCAL = { host: '127.0.0.1', port: 0 };
const log = createLogger('fatal', new Writable({ write: (_chunk, _encoding, done) => done() }));

test('1,000 connections that say nothing keep nobody from being served', async (t) => {
  const api = await startApi(t);
  const port = Number(new URL(api.url).port);
  const silent: Socket[] = [];
  for (let i = 0; i < 1000; i++) {
    const socket = connect(port, '127.0.0.1').on('error', () => undefined);
    silent.push(socket);
    if (i % 100 === 99) await once(socket, 'connect');
  }
  t.is((await call(api, 'GET', '/v1/proxies')).status, 200);
  for (const socket of silent) socket.destroy();
});

test('closing ends idle connections at once, and running requests after the grace', async (t) => {
  let arrived = (): void => undefined;
  const running = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  const app = new Koa().use(async (ctx) => {
    if (ctx.path === '/quick') ctx.body = 'done';
    else {
      arrived();
      await new Promise(() => undefined);
    }
  });
  const server = await serveHttp(app, LOCAL, log);
  await (await fetch(`${server.url}/quick`)).text();
  const hanging = t.throwsAsync(fetch(`${server.url}/hangs`));
  await running;
  const startedAt = performance.now();
  await server.close(200);
  const ms = performance.now() - startedAt;
  t.true(ms >= 190 && ms < 30_000, `${ms} ms`);
  await hanging;
  await t.throwsAsync(fetch(`${server.url}/quick`));
});

test('closing lets a running request end', async (t) => {
  let finish = (): void => undefined;
  let arrived = (): void => undefined;
  const running = new Promise<void>((resolve) => {
    arrived = resolve;
  });
  const app = new Koa().use(async (ctx) => {
    arrived();
    await new Promise<void>((resolve) => {
      finish = resolve;
    });
    ctx.body = 'whole';
  });
  const server = await serveHttp(app, LOCAL, log);
  const answer = fetch(server.url).then((response) => response.text());
  await running;
  const closed = server.close(60_000);
  finish();
  t.is(await answer, 'whole');
  await closed;
});

test('an address that is taken is an error', async (t) => {
  const first = await serveHttp(new Koa(), LOCAL, log);
  t.teardown(() => first.close(0));
  const port = Number(new URL(first.url).port);
  await t.throwsAsync(serveHttp(new Koa(), { ...LOCAL, port }, log), { code: 'EADDRINUSE' });
});
