import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { cutBatch } from '../../src/forward/batch.ts';
import { createWebhook, type WebhookOptions } from '../../src/forward/webhook.ts';
import { signWebhook } from '../../src/forward/webhook-signature.ts';
import { openssl } from '../x509/openssl.ts';
import { Trust, WebhookReceiver } from './receivers.ts';
import { eventRow } from './records.ts';

const trust = new Trust();
test.after.always(() => trust.remove());

const NOW = Date.parse('2026-03-01T00:00:00.900Z');
const never = new AbortController().signal;
const batch = cutBatch([eventRow(41), eventRow(42), eventRow(43)]);

function webhookTo(url: URL, options: Partial<WebhookOptions> = {}) {
  const { tls, secretFile } = trust;
  return createWebhook({ url, tls, secretFile, log: 'carnet.local/log', clock: () => NOW, ...options });
}

async function receiver(t: ExecutionContext): Promise<WebhookReceiver> {
  const listening = await WebhookReceiver.listen(trust);
  t.teardown(() => listening.close());
  return listening;
}

test('a batch is posted as lines, signed, with its range; 2xx acknowledges it', async (t) => {
  const to = await receiver(t);
  const asked: unknown[] = [];
  to.answer = (lines, response, request) => {
    asked.push(
      request.method,
      request.url,
      request.headers['carnet-log'],
      request.headers['carnet-timestamp'],
    );
    to.take(lines, response);
  };
  const sink = webhookTo(to.url);
  t.is(sink.target, to.url.origin, 'without what may be secret');
  t.is(await sink.send(batch, never), null);
  t.deepEqual(asked, ['POST', '/hook?token=hidden', 'carnet.local/log', '1772323200']);
  t.deepEqual([to.arrivals.leaves, to.faults], [[41, 42, 43], []]);
});

test('the signature is what openssl makes of timestamp and body', (t) => {
  const body = 'line\n';
  const { stdout } = openssl(['dgst', '-sha256', '-hmac', trust.secret, '-r'], `1772323200.${body}`);
  t.is(signWebhook(trust.secret, 1_772_323_200, Buffer.from(body)), `v1=${stdout.slice(0, 64)}`);
});

for (const [status, code, isRefused] of [
  [302, 'unavailable', false],
  [400, 'invalid_argument', true],
  [401, 'permission_denied', false],
  [404, 'unavailable', false],
  [413, 'too_large', true],
  [422, 'invalid_argument', true],
  [429, 'overloaded', false],
  [500, 'unavailable', false],
  [503, 'overloaded', false],
] as const)
  test(`an answer of ${status} is ${code}${isRefused ? ', and about the batch' : ''}`, async (t) => {
    const to = await receiver(t);
    to.answer = (_, response) => {
      response.writeHead(status, { location: 'https://elsewhere.example', 'retry-after': '7' }).end('{}');
    };
    const failure = await webhookTo(to.url).send(batch, never);
    t.like(failure, { isRefused, error: { code } });
    if (status >= 400) t.is(failure?.retryAfterMs, 7000);
    t.is(to.batches.length, 1);
  });

test('a receiver that hangs, before its answer or in it, is given up', async (t) => {
  const to = await receiver(t);
  const answers: ((response: ServerResponse) => void)[] = [
    () => undefined,
    (response) => void response.writeHead(200).write('and'),
  ];
  for (const answer of answers) {
    to.answer = (_, response) => answer(response);
    const failure = await webhookTo(to.url, { timeoutMs: 500 }).send(batch, never);
    t.is(failure?.error.code, 'timeout');
  }
});

test('a receiver that is another, or is not there, gets nothing', async (t) => {
  const to = await receiver(t);
  const other = new Trust();
  t.teardown(() => other.remove());
  const strange = { ...trust.tls, caFile: other.root.certificateFile };
  t.is((await webhookTo(to.url, { tls: strange }).send(batch, never))?.error.code, 'unavailable');
  const gone = new URL('https://127.0.0.1:1/');
  t.is((await webhookTo(gone).send(batch, never))?.error.code, 'unavailable');
  t.deepEqual(to.batches, []);
});

test('the secret is read again each time; without one nothing is sent', async (t) => {
  const to = await receiver(t);
  const short = trust.ca.write('short');
  for (const secretFile of ['/nowhere', short]) {
    const failure = await webhookTo(to.url, { secretFile }).send(batch, never);
    t.is(failure?.error.code, 'config_invalid');
    t.false(failure?.error.message.includes('hidden'));
  }
  t.deepEqual(to.batches, []);
  await webhookTo(to.url, { secretFile: trust.ca.write('x'.repeat(32)) }).send(batch, never);
  t.deepEqual(to.faults, ['signature']);
});

test('on the same machine plain HTTP will do', async (t) => {
  const server = createServer((request, response) => {
    request.resume().on('end', () => response.writeHead(200).end());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  t.is(await webhookTo(url).send(batch, never), null);
});
