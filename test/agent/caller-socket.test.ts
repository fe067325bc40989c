import { once } from 'node:events';
import { existsSync, lstatSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  Client,
  type ClientReadableStream,
  credentials,
  Server,
  type ServerOptions,
  type ServiceDefinition,
} from '@grpc/grpc-js';
import test, { type ExecutionContext } from 'ava';
import {
  CALLER_LIMITS,
  type CallerSocket,
  type CallerSocketOptions,
  listenForCallers,
  SOCKET_MODE,
} from '../../src/agent/caller-socket.ts';
import { createUnixAttestor } from '../../src/attestation/attest.ts';
import type { Attestation } from '../../src/attestation/attestation.ts';
import type { Peer } from '../../src/attestation/peer-credentials.ts';
import { systemClock } from '../../src/clock.ts';
import { CarnetError } from '../../src/errors.ts';
import { createLogger } from '../../src/log.ts';
import { IS_ROOT, NOBODY, PublicDirectory } from '../attestation/caller.ts';

const dir = mkdtempSync(join(tmpdir(), 'carnet-agent-'));
const publicDirectory = new PublicDirectory();
const attestor = createUnixAttestor();
test.after.always(() => {
  attestor.close();
  publicDirectory.remove();
  rmSync(dir, { recursive: true, force: true });
});

const bytes = { serialize: (value: Buffer) => value, deserialize: (value: Buffer) => value };
const WHO = '/test.Who/Who';
const WATCH = '/test.Who/Watch';

/** Answers with the instance that the socket says makes the call; `Watch` then leaves its stream open. */
function serviceOf(socket: () => CallerSocket) {
  const method = {
    requestStream: false,
    requestSerialize: bytes.serialize,
    requestDeserialize: bytes.deserialize,
    responseSerialize: bytes.serialize,
    responseDeserialize: bytes.deserialize,
  };
  const definition = {
    who: { ...method, path: WHO, responseStream: false },
    watch: { ...method, path: WATCH, responseStream: true },
  } satisfies ServiceDefinition;
  const instanceOf = (call: { getPeer(): string }) => Buffer.from(socket().attestationOf(call).instance);
  return {
    definition,
    handlers: {
      who: (call: { getPeer(): string }, callback: (error: Error | null, value: Buffer) => void) =>
        callback(null, instanceOf(call)),
      watch: (call: { getPeer(): string; write(value: Buffer): void }) => void call.write(instanceOf(call)),
    },
  };
}

interface Agent {
  readonly path: string;
  readonly socket: CallerSocket;
  readonly log: string[];
}

let agents = 0;

async function startAgent(
  t: ExecutionContext,
  options: Partial<CallerSocketOptions> = {},
  serverOptions: ServerOptions = {},
): Promise<Agent> {
  const server = new Server(serverOptions);
  const log: string[] = [];
  const path = options.path ?? join(dir, `${++agents}.sock`);
  const { definition, handlers } = serviceOf(() => socket);
  server.addService(definition, handlers as never);
  const socket: CallerSocket = await listenForCallers({
    path,
    mode: SOCKET_MODE,
    server,
    attest: attestor.attest,
    limits: CALLER_LIMITS,
    log: createLogger('info', { write: (line) => void log.push(line) }),
    clock: systemClock,
    ...options,
  });
  t.teardown(async () => {
    await socket.close();
    server.forceShutdown();
  });
  return { path, socket, log };
}

function clientOf(t: ExecutionContext, path: string): Client {
  // Of a channel of its own, and so a connection.
  const client = new Client(`unix:${path}`, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  });
  t.teardown(() => client.close());
  return client;
}

function who(client: Client): Promise<string> {
  return new Promise((resolve, reject) =>
    client.makeUnaryRequest(WHO, bytes.serialize, bytes.deserialize, Buffer.alloc(0), (error, value) =>
      error ? reject(error) : resolve(String(value)),
    ),
  );
}

function watch(client: Client): ClientReadableStream<Buffer> {
  const stream = client.makeServerStreamRequest(WATCH, bytes.serialize, bytes.deserialize, Buffer.alloc(0));
  stream.on('error', () => undefined);
  return stream;
}

const attestationOf = (instance: string): Attestation => ({ instance, selectors: [], evidence: {} });

/** Resolves when `socket.stats()` say so; the socket reports its closing by the same event that changes them. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise(setImmediate);
}

test('a call knows who makes it', async (t) => {
  const { path, socket } = await startAgent(t);
  const instance = await who(clientOf(t, path));
  t.true(instance.startsWith('container:') || instance.includes(`:${process.pid}:`), instance);
  t.like(socket.stats(), { connections: 1, attesting: 0, admitted: 1 });
});

test('the socket is for every local user, who is told from root', async (t) => {
  if (!IS_ROOT) t.log('as the same user: changing the user needs root');
  const uids: number[] = [];
  const { path } = await startAgent(t, {
    path: join(publicDirectory.path, 'agent.sock'),
    attest: async (peer) => {
      uids.push(peer.uid);
      return attestationOf(`uid:${peer.uid}`);
    },
  });
  t.is(lstatSync(path).mode & 0o777, 0o666);
  const caller = publicDirectory.call(path, IS_ROOT ? NOBODY : undefined);
  t.teardown(() => caller.kill());
  t.is(await caller.says(), 'connected');
  t.is(await who(clientOf(t, path)), `uid:${process.getuid?.()}`);
  t.deepEqual(uids, [IS_ROOT ? NOBODY : process.getuid?.(), process.getuid?.()] as number[]);
});

test('each of 100 connections at once keeps its own attestation, in whatever order they were attested', async (t) => {
  const waiting: ((attestation: Attestation) => void)[] = [];
  const { path, socket } = await startAgent(t, {
    attest: () => new Promise((resolve) => waiting.push(resolve)),
  });
  const clients = Array.from({ length: 100 }, () => clientOf(t, path));
  const answers = clients.map(who);
  await until(() => waiting.length === 100);
  t.is(socket.stats().attesting, 100);
  waiting.reverse().forEach((resolve, i) => void resolve(attestationOf(`instance ${i}`)));
  const first = await Promise.all(answers);
  t.is(new Set(first).size, 100);
  t.deepEqual(await Promise.all(clients.map(who)), first);
  for (const client of clients) client.close();
  await until(() => socket.stats().connections === 0);
});

test('what a caller sends while it is attested is kept for the server', async (t) => {
  const attested = Promise.withResolvers<Attestation>();
  const { path, socket } = await startAgent(t, { attest: () => attested.promise });
  const client = clientOf(t, path);
  let answered = false;
  const answers = Promise.all(Array.from({ length: 20 }, () => who(client))).finally(() => {
    answered = true;
  });
  await until(() => socket.stats().attesting === 1);
  t.false(answered);
  attested.resolve(attestationOf('late'));
  t.deepEqual(await answers, Array(20).fill('late'));
});

test('when a connection closes that is told, and its name means nobody any more', async (t) => {
  const closed: Attestation[] = [];
  const attestation = attestationOf('short');
  const { path, socket } = await startAgent(t, {
    attest: async () => attestation,
    onClosed: (one) => void closed.push(one),
  });
  const client = await connected(path);
  const first = { getPeer: () => 'caller-1' };
  await until(() => socket.stats().admitted === 1);
  t.is(socket.attestationOf(first), attestation);
  client.destroy();
  await until(() => closed.length === 1);
  t.is(closed[0], attestation);
  t.throws(() => socket.attestationOf(first), { code: 'unauthenticated' });
});

test('a caller that cannot be attested is disconnected, counted and logged once', async (t) => {
  const { path, socket, log } = await startAgent(t, {
    attest: async () => {
      throw new CarnetError('attestation_failed', 'process 7 has ended');
    },
  });
  for (let i = 0; i < 5; i++) await once(connect(path), 'close');
  await until(() => socket.stats().connections === 0);
  t.is(socket.stats().refused.get('attestation_failed'), 5);
  t.is(log.length, 1);
  t.like(JSON.parse(log[0] ?? ''), { code: 'attestation_failed', uid: process.getuid?.() });
});

test('a user has so many connections and no more, and gets the place of one that closes', async (t) => {
  const { path, socket } = await startAgent(t, { limits: { connections: 100, connectionsPerUser: 3 } });
  const held = await Promise.all([1, 2, 3].map(() => connected(path)));
  await once(connect(path), 'close');
  t.is(socket.stats().refused.get('overloaded'), 1);
  held[0]?.destroy();
  await until(() => socket.stats().connections === 2);
  t.truthy(await who(clientOf(t, path)));
  for (const one of held) one.destroy();
});

test('one user at its limit takes nothing from another', async (t) => {
  if (!IS_ROOT) {
    t.log('skipped: changing the user needs root');
    t.pass();
    return;
  }
  const { path } = await startAgent(t, {
    path: join(publicDirectory.path, 'fair.sock'),
    limits: { connections: 100, connectionsPerUser: 1 },
    attest: async (peer) => attestationOf(`uid:${peer.uid}`),
  });
  const caller = publicDirectory.call(path, NOBODY);
  t.teardown(() => caller.kill());
  t.is(await caller.says(), 'connected');
  t.is(await who(clientOf(t, path)), 'uid:0');
  const second = publicDirectory.call(path, NOBODY);
  t.teardown(() => second.kill());
  t.deepEqual([await second.says(), await second.says()], ['connected', 'closed']);
});

test('all users together have so many connections and no more', async (t) => {
  const { path, socket } = await startAgent(t, { limits: { connections: 2, connectionsPerUser: 100 } });
  const held = await Promise.all([1, 2].map(() => connected(path)));
  await once(connect(path), 'close');
  t.like(socket.stats(), { connections: 2, refused: new Map([['overloaded', 1]]) });
  for (const one of held) one.destroy();
});

test('a caller that hangs up while it is attested leaves nothing behind', async (t) => {
  const attested = Promise.withResolvers<Attestation>();
  let peers = 0;
  const { path, socket } = await startAgent(t, {
    attest: () => {
      peers++;
      return attested.promise;
    },
  });
  const client = await connected(path);
  await until(() => peers === 1);
  client.destroy();
  await once(client, 'close');
  attested.resolve(attestationOf('gone'));
  await until(() => socket.stats().connections === 0);
  t.is(socket.stats().attesting, 0);
});

for (const [claim, data] of [
  ['garbage', Buffer.alloc(4096, 0xff)],
  ['an HTTP/1.1 request', Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n')],
  [
    'a preface and a broken frame',
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff', 'latin1'),
  ],
] as const)
  test(`a caller that sends ${claim} is disconnected, and the others stay`, async (t) => {
    const { path, socket } = await startAgent(t);
    const client = clientOf(t, path);
    const instance = await who(client);
    const hostile = connect(path);
    hostile.on('error', () => undefined);
    hostile.resume().write(data);
    await once(hostile, 'close');
    t.is(await who(client), instance);
    await until(() => socket.stats().connections === 1);
  });

test("callers that say nothing are ended by the server's idle limit", async (t) => {
  const { path, socket } = await startAgent(t, {}, { 'grpc.max_connection_idle_ms': 50 });
  const silent = await Promise.all(Array.from({ length: 20 }, () => connected(path)));
  await Promise.all(silent.map((one) => once(one.resume(), 'close')));
  await until(() => socket.stats().connections === 0);
  t.is(socket.stats().admitted, 20);
});

test.serial('no descriptor is left of callers that came and went', async (t) => {
  const { path, socket } = await startAgent(t, { limits: { connections: 5, connectionsPerUser: 5 } });
  await who(clientOf(t, path));
  const round = async (): Promise<void> => {
    const sockets = await Promise.all(Array.from({ length: 20 }, () => connected(path)));
    for (const one of sockets) one.destroy();
    await until(() => socket.stats().connections === 1);
  };
  await round();
  const before = pidfdCount();
  for (let i = 0; i < 5; i++) await round();
  // The last ones are looked at to the end, although they have hung up.
  await until(() => pidfdCount() <= before);
  t.is(pidfdCount(), before);
});

test('closing ends open streams and waiting callers in bounded time, and removes the socket', async (t) => {
  const never = new Promise<Attestation>(() => undefined);
  let count = 0;
  const { path, socket } = await startAgent(t, {
    attest: (peer: Peer) => (++count === 1 ? attestor.attest(peer) : never),
  });
  const stream = watch(clientOf(t, path));
  await once(stream, 'data');
  const held = await connected(path);
  await until(() => socket.stats().attesting === 1);
  const ended = once(held.resume(), 'close');
  await Promise.all([once(stream, 'error'), ended, socket.close()]);
  t.false(existsSync(path));
  await until(() => socket.stats().connections === 0);
  t.is(socket.stats().attesting, 0);
});

test('a call on a connection that is not ours is unauthenticated', async (t) => {
  const { socket } = await startAgent(t);
  t.throws(() => socket.attestationOf({ getPeer: () => 'unknown' }), { code: 'unauthenticated' });
});

async function connected(path: string): Promise<Socket> {
  const socket = connect(path);
  await once(socket, 'connect');
  return socket;
}

/** Descriptors of processes that this process has open. */
function pidfdCount(): number {
  return readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).includes('pidfd');
    } catch {
      return false;
    }
  }).length;
}
