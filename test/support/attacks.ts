import { once } from 'node:events';
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect as connectHttp2,
  constants,
} from 'node:http2';
import { connect, type Socket } from 'node:net';
import { DiscoveryRequest } from '../../src/gen/envoy/service/discovery/v3/discovery.ts';
import { TestClient } from '../sds/harness.ts';

/** What hostile clients do on an agent's socket. Each attack resolves when all of its connections are over. */

const MIB = 1 << 20;
/** The connection preface, with the empty SETTINGS frame that must follow (RFC 9113 §3.4). */
const HELLO = Buffer.concat([
  Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  frame(4, 0, 0, Buffer.alloc(0)),
]);
const HEADERS = {
  [constants.HTTP2_HEADER_METHOD]: 'POST',
  [constants.HTTP2_HEADER_PATH]: '/envoy.service.secret.v3.SecretDiscoveryService/StreamSecrets',
  [constants.HTTP2_HEADER_CONTENT_TYPE]: 'application/grpc',
  [constants.HTTP2_HEADER_TE]: 'trailers',
};

/** Bytes instead of HTTP/2, of frames, and of messages. */
export async function garbage(path: string): Promise<void> {
  const random = pseudoRandom(1);
  for (let i = 0; i < 200; i++) {
    const socket = await open(path);
    socket.write(i % 2 === 0 ? random(512) : Buffer.concat([HELLO, random(512)]));
    await closedBy(socket);
  }
  const session = connectTo(path);
  for (let i = 0; i < 200; i++) {
    const stream = request(session);
    stream.end(grpcFrame(random(200)));
    await ended(stream);
  }
  session.destroy();
}

/** 10,000 resource names, a hundred times. Resolves to the words with which each stream was ended. */
export async function tenThousandNames(path: string): Promise<string[]> {
  const names = Array.from({ length: 10_000 }, (_, i) => `name-${i}`);
  const client = new TestClient(path, 'web');
  const details: string[] = [];
  for (let i = 0; i < 100; i++) {
    const stream = client.stream();
    stream.send({ resourceNames: names });
    details.push((await stream.ended).details);
  }
  client.close();
  return details;
}

export interface Silence {
  /** Resolves when the server has closed all of them. */
  readonly closed: Promise<unknown>;
  end(): void;
}

/** So many connections that say nothing, and as many that say no more than hello. */
export async function silentConnections(path: string, count: number): Promise<Silence> {
  const sockets: Socket[] = [];
  while (sockets.length < 2 * count) sockets.push(await open(path));
  for (const socket of sockets.slice(count)) socket.write(HELLO);
  return {
    closed: Promise.all(sockets.map(closedBy)),
    end: () => {
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Streams that say nothing, ten connections with `each` of them, until the server has ended all. */
export async function silentStreams(path: string, each: number): Promise<void> {
  const sessions = Array.from({ length: 10 }, () => connectTo(path));
  const streams = sessions.flatMap((session) => Array.from({ length: each }, () => request(session)));
  for (const stream of streams) await ended(stream);
  for (const session of sessions) session.destroy();
}

export interface NeverReaders {
  /** Sends what is no message on each stream, and resolves when the server has ended them. */
  end(): Promise<void>;
}

/** Ten connections with `each` streams that ask for a secret and never read what comes. */
export async function neverReaders(path: string, name: string, each: number): Promise<NeverReaders> {
  // A window of no bytes: nothing that the server writes can leave it.
  const sessions = Array.from({ length: 10 }, () => connectTo(path, { initialWindowSize: 0 }));
  for (const session of sessions) await once(session, 'remoteSettings');
  const asks = DiscoveryRequest.encode({
    ...DiscoveryRequest.decode(new Uint8Array()),
    resourceNames: [name],
  }).finish();
  const streams: ClientHttp2Stream[] = [];
  for (const session of sessions)
    for (let i = 0; i < each; i++) {
      const stream = request(session);
      stream.on('error', () => undefined);
      stream.write(grpcFrame(Buffer.from(asks)));
      await once(stream, 'response');
      streams.push(stream);
    }
  return {
    end: async () => {
      for (const stream of streams) stream.write(grpcFrame(Buffer.from([0xff])));
      await Promise.all(streams.map(ended));
      for (const session of sessions) session.destroy();
    },
  };
}

/** Many headers, long headers, and headers without an end. */
export async function headerFloods(path: string): Promise<void> {
  const many = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`x-header-${i}`, 'x'.repeat(20)]));
  for (const headers of [many, { 'x-large': 'x'.repeat(MIB) }])
    for (let i = 0; i < 50; i++) {
      const session = connectTo(path);
      await ended(request(session, headers));
      session.destroy();
    }
  for (let i = 0; i < 10; i++) {
    const socket = await open(path);
    socket.write(Buffer.concat([HELLO, frame(1, 0, 1, Buffer.alloc(0))]));
    const block = frame(9, 0, 1, Buffer.alloc(16_000));
    const closed = closedBy(socket);
    for (let j = 0; j < 200 && !socket.destroyed; j++)
      if (!socket.write(block)) await Promise.race([once(socket, 'drain').catch(() => undefined), closed]);
    await closed;
  }
}

/** So many streams, each opened and reset at once (CVE-2023-44487). */
export async function rapidResets(path: string, count: number): Promise<void> {
  let reset = 0;
  while (reset < count) {
    const session = connectTo(path);
    while (reset < count && !session.closed && !session.destroyed) {
      const streams = Array.from({ length: 50 }, () => request(session));
      for (const stream of streams) stream.on('error', () => undefined).close(constants.NGHTTP2_CANCEL);
      reset += streams.length;
      await Promise.all(streams.map(ended));
    }
    session.destroy();
  }
}

/** So many streams, each cancelled when its secret arrives. */
export async function lateCancels(path: string, count: number): Promise<void> {
  const client = new TestClient(path, 'web');
  for (let i = 0; i < count; i++) {
    const stream = client.stream();
    stream.send({ resourceNames: ['default'] });
    // Node ends a connection on which too many streams are reset.
    await Promise.race([stream.next(), stream.ended]);
    stream.call.cancel();
  }
  client.close();
}

function connectTo(path: string, settings = {}): ClientHttp2Session {
  const session = connectHttp2('http://localhost', {
    createConnection: () => connect(path),
    settings,
    maxSendHeaderBlockLength: 16 * MIB,
  });
  return session.on('error', () => undefined);
}

function request(session: ClientHttp2Session, headers: Record<string, string> = {}): ClientHttp2Stream {
  return session.request({ ...HEADERS, ...headers }, { endStream: false });
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
