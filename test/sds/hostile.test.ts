import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  constants,
} from 'node:http2';
import { connect, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { DiscoveryRequest } from '../../src/gen/envoy/service/discovery/v3/discovery.ts';
import { TestClient } from './harness.ts';
import { type Measure, startVictim, type Victim } from './victim.ts';

const MIB = 1 << 20;
/** The connection preface, with the empty SETTINGS frame that must follow (RFC 9113 §3.4). */
const HELLO = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  frame(4, 0, 0, Buffer.alloc(0)),
]);
const METHOD = '/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets';

test.serial('garbage instead of HTTP/2, of frames, and of messages', async (t) => {
  const victim = await startVictim(t);
  await figures(t, victim, async () => {
    const random = pseudoRandom(1);
    for (let i = 0; i < 200; i++) {
      const socket = await open(victim.socket);
      socket.write(i % 2 === 0 ? random(512) : Buffer.concat([HELLO, random(512)]));
      await closedBy(socket);
    }
    const session = connectTo(victim.socket);
    for (let i = 0; i < 200; i++) {
      const stream = session.request({ ...HEADERS });
      stream.end(grpcFrame(random(200)));
      await ended(stream);
    }
    session.destroy();
  });
});

test.serial('10,000 resource names, a hundred times', async (t) => {
  const victim = await startVictim(t);
  await figures(t, victim, async () => {
    const names = Array.from({ length: 10_000 }, (_, i) => `name-${i}`);
    const client = new TestClient(victim.socket, 'web');
    for (let i = 0; i < 100; i++) {
      const stream = client.stream();
      stream.send({ resourceNames: names });
      t.regex((await stream.ended).details, /10000 resource names are too many/);
    }
    client.close();
  });
});

test.serial('1,000 connections that say nothing, and 1,000 that say no more than hello', async (t) => {
  const victim = await startVictim(t, { 'grpc.max_connection_idle_ms': 1500 });
  await figures(t, victim, async (before) => {
    const sockets: Socket[] = [];
    while (sockets.length < 2000) sockets.push(await open(victim.socket));
    const closed = Promise.all(sockets.map(closedBy));
    for (const socket of sockets.slice(1000)) socket.write(HELLO);
    const during = await victim.measure();
    t.log(`${kib((during.rss - before.rss) / 2000)} KiB for each while they are open`);
    await closed;
  });
});

test.serial('500 streams that say nothing, and are kept open when they are ended', async (t) => {
  const victim = await startVictim(t);
  await figures(t, victim, async () => {
    const sessions = Array.from({ length: 10 }, () => connectTo(victim.socket));
    const streams = sessions.flatMap((session) =>
      Array.from({ length: 50 }, () => session.request({ ...HEADERS }, { endStream: false })),
    );
    for (const stream of streams) await ended(stream);
    for (const session of sessions) session.destroy();
  });
});

test.serial('100 readers that never read, while the bundle changes 3,000 times', async (t) => {
  const victim = await startVictim(t);
  await figures(t, victim, async () => {
    // A window of no bytes: nothing that the server writes can leave it.
    const sessions = Array.from({ length: 10 }, () => connectTo(victim.socket, { initialWindowSize: 0 }));
    for (const session of sessions) await once(session, 'remoteSettings');
    const request = DiscoveryRequest.encode({
      ...DiscoveryRequest.decode(new Uint8Array()),
      resourceNames: ['ROOTCA'],
    }).finish();
    const streams: ClientHttp2Stream[] = [];
    for (const session of sessions)
      for (let i = 0; i < 10; i++) {
        const stream = session.request({ ...HEADERS }, { endStream: false });
        stream.on('error', () => undefined);
        stream.write(grpcFrame(Buffer.from(request)));
        await once(stream, 'response');
        streams.push(stream);
      }
    const before = await victim.measure();
    const after = await victim.measure(3000);
    t.is(before.open, 100);
    t.log(`3,000 updates later the heap is ${kib(after.heapUsed - before.heapUsed)} KiB larger`);
    t.true(after.heapUsed - before.heapUsed < MIB);
    const client = new TestClient(victim.socket, 'web');
    const stream = client.stream();
    stream.send({ resourceNames: ['ROOTCA'] });
    t.true((await stream.next()).versionInfo.startsWith(`${after.sequence}-`));
    stream.call.cancel();
    client.close();
    t.log('a malformed request of each ends it, although it cannot be told so');
    for (const each of streams) each.write(grpcFrame(Buffer.from([0xff])));
    await Promise.all(streams.map(ended));
    for (const session of sessions) session.destroy();
  });
});

test.serial('floods of headers', async (t) => {
  const victim = await startVictim(t);
  await figures(t, victim, async () => {
    const many = Object.fromEntries(
      Array.from({ length: 5000 }, (_, i) => [`x-header-${i}`, 'x'.repeat(20)]),
    );
    for (const headers of [many, { 'x-large': 'x'.repeat(MIB) }])
      for (let i = 0; i < 50; i++) {
        const session = connectTo(victim.socket);
        const stream = session.request({ ...HEADERS, ...headers });
        await ended(stream);
        session.destroy();
      }
    // Header blocks that never end.
    for (let i = 0; i < 10; i++) {
      const socket = await open(victim.socket);
      socket.write(Buffer.concat([HELLO, frame(1, 0, 1, Buffer.alloc(0))]));
      const block = frame(9, 0, 1, Buffer.alloc(16_000));
      const closed = closedBy(socket);
      for (let j = 0; j < 200 && !socket.destroyed; j++)
        if (!socket.write(block)) await Promise.race([once(socket, 'drain').catch(() => undefined), closed]);
      await closed;
    }
  });
});

test.serial('10,000 streams, each opened and reset at once', async (t) => {
  const victim = await startVictim(t);
  await figures(t, victim, async () => {
    let reset = 0;
    while (reset < 10_000) {
      const session = connectTo(victim.socket);
      while (reset < 10_000 && !session.closed && !session.destroyed) {
        const streams = Array.from({ length: 50 }, () =>
          session.request({ ...HEADERS }, { endStream: false }),
        );
        for (const stream of streams) stream.on('error', () => undefined).close(constants.NGHTTP2_CANCEL);
        reset += streams.length;
        await Promise.all(streams.map(ended));
      }
      session.destroy();
    }
  });
});

test.serial('2,000 streams, each cancelled when its secret arrives', async (t) => {
  const victim = await startVictim(t);
  await figures(t, victim, async () => {
    const client = new TestClient(victim.socket, 'web');
    for (let i = 0; i < 2000; i++) {
      const stream = client.stream();
      stream.send({ resourceNames: ['default'] });
      // Node ends a connection on which too many streams are reset.
      await Promise.race([stream.next(), stream.ended]);
      stream.call.cancel();
    }
    client.close();
  });
});

const HEADERS = {
  [constants.HTTP2_HEADER_METHOD]: 'POST',
  [constants.HTTP2_HEADER_PATH]: METHOD,
  [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
  [constants.HTTP2_HEADER_TE]: 'trailers',
};

/**
 * Runs an attack while a good client goes on asking for its secrets, which it must get; afterwards no stream
 * may be left open, and the server be no larger.
 */
async function figures(
  t: ExecutionContext,
  victim: Victim,
  attack: (before: Measure) => Promise<void>,
): Promise<void> {
  await victim.serves();
  const before = await victim.measure();
  const over = new AbortController();
  const begin = performance.now();
  const [worst] = await Promise.all([
    worstOf(victim, over.signal),
    attack(before).finally(() => over.abort()),
  ]);
  const took = performance.now() - begin;
  let after = await victim.measure();
  // What a closed connection held is freed in the turns of the event loop that follow.
  for (let i = 0; i < 50 && after.open > 0; i++) after = await victim.measure();
  t.is(after.open, 0);
  t.log(
    `attack ${took.toFixed(0)} ms; a good client connects and is served within ${worst.toFixed(0)} ms all the ` +
      `while; then the heap is ${kib(after.heapUsed - before.heapUsed)} KiB larger, the process ` +
      `${kib(after.rss - before.rss)} KiB`,
  );
  t.true(worst < 5000);
  t.true(after.heapUsed - before.heapUsed < 16 * MIB);
  // Much of it is what the allocator keeps of the connections that came and went.
  t.true(after.rss - before.rss < 256 * MIB);
}

/** The longest that a good client waits, of many times one after the other. */
async function worstOf(victim: Victim, over: AbortSignal): Promise<number> {
  let worst = 0;
  while (!over.aborted) worst = Math.max(worst, await victim.serves());
  return Math.max(worst, await victim.serves());
}

function connectTo(socket: string, settings = {}): ClientHttp2Session {
  const session = connectHttp2('http://localhost', {
    createConnection: () => connect(socket),
    settings,
    maxSendHeaderBlockLength: 16 * MIB,
  });
  return session.on('error', () => undefined);
}

/** Connects, again and again while the socket's backlog is full. */
async function open(path: string): Promise<Socket> {
  for (;;) {
    const socket = connect(path);
    try {
      await once(socket, 'connect');
      return socket.on('error', () => undefined);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      await new Promise(setImmediate);
    }
  }
}

/** Resolves when the other side has closed the connection; what it says is thrown away. */
async function closedBy(socket: Socket): Promise<void> {
  socket.resume();
  if (!socket.destroyed) await once(socket, 'close').catch(() => undefined);
}

async function ended(stream: ClientHttp2Stream): Promise<void> {
  stream.on('error', () => undefined).resume();
  if (!stream.closed) await once(stream, 'close').catch(() => undefined);
}

/** An HTTP/2 frame (RFC 9113 §4.1). */
function frame(type: number, flags: number, streamId: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(9);
  header.writeUIntBE(payload.length, 0, 3);
  header.writeUInt8(type, 3);
  header.writeUInt8(flags, 4);
  header.writeUInt32BE(streamId, 5);
  return Buffer.concat([header, payload]);
}

function grpcFrame(message: Buffer): Buffer {
  const header = Buffer.alloc(5);
  header.writeUInt32BE(message.length, 1);
  return Buffer.concat([header, message]);
}

/** Bytes of a linear congruential generator: the same in each run. */
function pseudoRandom(seed: number): (length: number) => Buffer {
  let state = seed;
  return (length) =>
    Buffer.from(
      Array.from({ length }, () => {
        state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
        return state >>> 24;
      }),
    );
}

function kib(bytes: number): string {
  return (bytes / 1024).toFixed(0);
}
