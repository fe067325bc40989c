import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import { ownsListener } from '../attestation/listener-owner.ts';
import { readPeer } from '../attestation/peer-credentials.ts';
import { CarnetError } from '../errors.ts';
import { type AdminAddress, parseAdminAddress } from './admin-address.ts';

/** A proxy with 1,500 TLS contexts; ten have answered in 10 KiB. */
const MAX_ANSWER_BYTES = 2 * 1024 * 1024;
const TIMEOUT_MS = 1_000;

/**
 * Asks the admin interface of an Envoy what certificates it uses (`GET /certs`), and nothing else. `address` is the
 * proxy's own, untrusted word: it is connected to only on loopback or a Unix socket, and asked only if by the kernel's
 * word the process `pid`, the caller, is who listens there. Throws `permission_denied` where it is not or can't be
 * told, and `unavailable` for an answer that does not come whole within a second.
 */
export async function readCerts(pid: number, address: string): Promise<string> {
  const parsed = parseAdminAddress(address);
  if (parsed === null)
    throw new CarnetError('permission_denied', 'an admin address is on loopback or an absolute path');
  if (parsed.kind === 'tcp' && !ownsListener(pid, parsed.host, parsed.port))
    throw new CarnetError('permission_denied', `process ${pid} does not listen on port ${parsed.port}`);
  const signal = AbortSignal.timeout(TIMEOUT_MS);
  const socket = await connected(parsed, signal);
  try {
    if (parsed.kind === 'unix') checkListener(socket, pid);
    return await get('/certs', socket, signal);
  } catch (error) {
    throw error instanceof CarnetError ? error : unanswered(error);
  } finally {
    socket.destroy();
  }
}

function connected(address: AdminAddress, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const to = address.kind === 'unix' ? { path: address.path } : { host: address.host, port: address.port };
    const socket = connect({ ...to, signal });
    socket.once('connect', () => resolve(socket));
    // Heard to its end: what comes after the answer changes nothing.
    socket.on('error', (error) => reject(unanswered(error)));
  });
}

/** Of a socket that we connected SO_PEERCRED names the process that began to listen. Before a byte is sent. */
function checkListener(socket: Socket, pid: number): void {
  const peer = readPeer(socket);
  peer.close();
  if (peer.pid !== pid) throw new CarnetError('permission_denied', `process ${pid} is not who listens there`);
}

function get(path: string, socket: Socket, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const sent: ClientRequest = request({
      // An agent of its own would connect elsewhere.
      ...{ method: 'GET', path, signal, createConnection: () => socket },
      headers: { host: 'localhost', accept: 'application/json', connection: 'close' },
    });
    sent.on('error', reject);
    sent.on('response', (response) => void readWhole(response).then(resolve, reject));
    sent.end();
  });
}

async function readWhole(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_ANSWER_BYTES) throw unanswered(new Error(`more than ${MAX_ANSWER_BYTES} bytes`));
    chunks.push(chunk);
  }
  if (response.statusCode !== 200) throw unanswered(new Error(`status ${response.statusCode}`));
  return Buffer.concat(chunks).toString('utf8');
}

function unanswered(cause: unknown): CarnetError {
  return new CarnetError('unavailable', 'the admin interface does not answer', { cause });
}
