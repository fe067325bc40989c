import type { TLSSocket } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { cutBatch } from '../../src/forward/batch.ts';
import { createSyslog, type SyslogOptions } from '../../src/forward/syslog.ts';
import { Rsyslog } from '../support/rsyslog.ts';
import { until } from '../support/until.ts';
import { SyslogReceiver, Trust } from './receivers.ts';
import { eventRow } from './records.ts';

const trust = new Trust();
test.after.always(() => trust.remove());

const ORIGIN = { host: 'node-1', pid: 42, log: 'carnet.local/log' };
const never = new AbortController().signal;

function batchOf(count: number, first = 0) {
  const [one, ...more] = Array.from({ length: count }, (_, i) => eventRow(first + i));
  if (one === undefined) throw new Error('no batch is empty');
  return cutBatch([one, ...more]);
}

function syslogTo(port: number, options: Partial<SyslogOptions> = {}) {
  return createSyslog({ host: '127.0.0.1', port, tls: trust.tls, origin: ORIGIN, ...options });
}

async function receiver(t: ExecutionContext): Promise<SyslogReceiver> {
  const listening = await SyslogReceiver.listen(trust);
  t.teardown(() => listening.close());
  return listening;
}

test('every message of a batch arrives, in its frame, before it is acknowledged', async (t) => {
  const to = await receiver(t);
  const sink = syslogTo(to.port);
  t.is(sink.target, `tls://127.0.0.1:${to.port}`);
  for (const [first, count] of [
    [0, 1],
    [1, 1000],
    [1001, 3],
  ] as const) {
    t.is(await sink.send(batchOf(count, first), never), null);
    t.is(to.arrivals.lines.length, first + count);
  }
  t.deepEqual(
    to.arrivals.leaves,
    Array.from({ length: 1004 }, (_, i) => i),
  );
  t.deepEqual(to.faults, []);
});

test('a receiver that cuts the connection in the middle of a message has acknowledged nothing', async (t) => {
  const to = await receiver(t);
  to.cutAfter = 1500;
  const failure = await syslogTo(to.port).send(batchOf(1000), never);
  t.is(failure?.error.code, 'unavailable');
  t.false(failure?.isRefused);
  t.true(to.arrivals.lines.length > 0);
});

test('a receiver that closes in order without reading all has acknowledged nothing', async (t) => {
  const to = await receiver(t);
  for (const instead of [
    (socket: TLSSocket) => void socket.end(),
    (socket: TLSSocket) => void socket.pause().destroy(),
    // Once some of it, or all, has come.
    (socket: TLSSocket) => void socket.pause().once('readable', () => socket.end(() => socket.destroy())),
  ]) {
    to.instead = instead;
    t.is((await syslogTo(to.port).send(batchOf(1000), never))?.error.code, 'unavailable', String(instead));
  }
});

test('a receiver that reads nothing, or does not close, is given up', async (t) => {
  const to = await receiver(t);
  const sink = syslogTo(to.port, { timeoutMs: 500 });
  to.instead = (socket) => void socket.pause();
  t.is((await sink.send(batchOf(1000), never))?.error.code, 'timeout');
  t.is((await sink.send(batchOf(1), never))?.error.code, 'timeout');
});

test('what is being sent is given up when the server stops', async (t) => {
  const to = await receiver(t);
  const stopping = new AbortController();
  to.instead = () => stopping.abort();
  t.is((await syslogTo(to.port).send(batchOf(1), stopping.signal))?.error.code, 'shutting_down');
});

test('a receiver that is another, or wants to know who we are and is not told, gets nothing', async (t) => {
  const to = await receiver(t);
  const other = new Trust();
  t.teardown(() => other.remove());
  for (const tls of [
    { ...trust.tls, caFile: other.root.certificateFile },
    { ...trust.tls, certFile: null, keyFile: null },
    { ...trust.tls, certFile: other.client.certificateFile, keyFile: other.client.keyFile },
  ]) {
    const failure = await syslogTo(to.port, { tls }).send(batchOf(10), never);
    t.is(failure?.error.code, 'unavailable');
  }
  t.deepEqual(to.arrivals.lines, []);
  const unreadable = { ...trust.tls, caFile: '/nowhere' };
  const failure = await syslogTo(to.port, { tls: unreadable }).send(batchOf(1), never);
  t.is(failure?.error.code, 'config_invalid');
});

test('a real rsyslog takes every message, over its restarts too', async (t) => {
  const { root, server } = trust;
  const tls = { caFile: root.certificateFile, certFile: server.certificateFile, keyFile: server.keyFile };
  await using rsyslog = await Rsyslog.start(tls);
  const sink = syslogTo(rsyslog.port);
  t.is(await sink.send(batchOf(500), never), null);
  await rsyslog.stop();
  t.is((await sink.send(batchOf(1, 500), never))?.error.code, 'unavailable');
  await rsyslog.start();
  const long = eventRow(500, { after: { text: 'x'.repeat(20_000) }, subject: '"é]' });
  t.is(await sink.send(cutBatch([long, eventRow(501)]), never), null);
  await until('all is written', () => rsyslog.lines().length >= 502);
  const received = rsyslog.lines().map((line) => line.split('\t'));
  t.deepEqual(
    received.map(([, message = '']) => JSON.parse(message).leaf_index),
    Array.from({ length: 502 }, (_, i) => i),
  );
  t.regex(
    received[500]?.[0] ?? '',
    /^\[carnet@32473 log="carnet\.local\/log" leaf_index="500" .* subject="\\"\?\\]"\]$/,
  );
  t.true(JSON.parse(received[500]?.[1] ?? '').shortened);
});
