import { once } from 'node:events';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { CarnetError } from '../errors.ts';
import type { TlsParts } from './tls-files.ts';
import { unacknowledgedBytes } from './unacknowledged.ts';

/** How long a receiver has to refuse us that says nothing after the handshake, not even a session ticket. */
const SILENCE_MS = 2000;
/** Between looks at what the other end's kernel has acknowledged. */
const LOOK_MS = 2;

/**
 * Sends bytes over TLS to a receiver whose protocol knows no acknowledgement, and resolves when its process has read all
 * of them:
 *
 *  1. We wait until it has taken our certificate, or the lack of one, which TLS 1.3 decides after the client's handshake:
 *     a session ticket (RFC 8446 §4.6.1) says so. From who sends none, no refusal within 2 s does.
 *  2. All is written, and we wait until the receiver's kernel has acknowledged it.
 *  3. We close, first TLS and then TCP, and wait for the receiver's close in answer. A process that closes, or dies,
 *     with something unread resets the connection instead (RFC 1122 §4.2.2.13; Linux does).
 *
 * Rejects when the receiver resets or closes before, and when `signal` aborts; then it may have read any part.
 */
export async function deliverConfirmed(
  { host, port, tls }: { readonly host: string; readonly port: number; readonly tls: TlsParts },
  bytes: Buffer,
  signal: AbortSignal,
): Promise<void> {
  const tcp = connectTcp({ host, port, allowHalfOpen: true });
  const wire = wireOf(tcp);
  const name = isIP(host) === 0 ? { servername: host } : {};
  const socket = connectTls({ socket: wire, host, ...name, ...tls });
  const fault = faultOf(tcp, socket, signal);
  const accepted = acceptanceOf(socket);
  try {
    await Promise.race([fault.promise, once(socket, 'secureConnect')]);
    // What it says is not for us; unread, it would turn our close into a reset.
    socket.resume();
    await Promise.race([fault.promise, accepted]);
    await Promise.race([fault.promise, write(socket, bytes)]);
    await Promise.race([fault.promise, acknowledged(tcp, signal)]);
    fault.mayEnd();
    const ended = once(tcp, 'close');
    socket.end();
    await Promise.race([fault.promise, ended]);
  } finally {
    socket.destroy();
    tcp.destroy();
  }
}

/** TLS gets what TCP has, but not its end: only the kernel's word tells a close from a reset. */
function wireOf(tcp: Socket): Duplex {
  const wire = new Duplex({
    read: () => void tcp.resume(),
    write: (chunk: Buffer, _encoding, done) => void tcp.write(chunk, done),
    final: (done) => void tcp.end(done),
  });
  tcp.on('data', (chunk: Buffer) => {
    if (!wire.destroyed && !wire.push(chunk)) tcp.pause();
  });
  wire.once('close', () => tcp.resume());
  wire.on('error', () => undefined);
  return wire;
}

/** Rejects at the first thing that goes wrong: an error, a close that comes too early, the caller's signal. */
function faultOf(tcp: Socket, socket: TLSSocket, signal: AbortSignal) {
  const { promise, reject } = Promise.withResolvers<never>();
  promise.catch(() => undefined);
  let mayEnd = false;
  const early = (): void => {
    if (!mayEnd) reject(new CarnetError('unavailable', 'it closed the connection before all was read'));
  };
  tcp.on('error', reject).once('end', early).once('close', early);
  socket.on('error', reject).once('end', early);
  const abort = (): void => reject(signal.reason);
  signal.addEventListener('abort', abort);
  tcp.once('close', () => signal.removeEventListener('abort', abort));
  if (signal.aborted) abort();
  return {
    promise,
    mayEnd: (): void => {
      mayEnd = true;
    },
  };
}

/** Of TLS 1.2 the handshake ends with the receiver's word; it takes no longer than that here. */
async function acceptanceOf(socket: TLSSocket): Promise<void> {
  const ticket = once(socket, 'session').catch(() => undefined);
  await once(socket, 'secureConnect').catch(() => undefined);
  if (socket.getProtocol() === 'TLSv1.3')
    await Promise.race([ticket, sleep(SILENCE_MS, undefined, { ref: false })]);
}

function write(socket: TLSSocket, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}

async function acknowledged(tcp: Socket, signal: AbortSignal): Promise<void> {
  while (unacknowledgedBytes(tcp) > 0) {
    await sleep(LOOK_MS);
    signal.throwIfAborted();
  }
}
