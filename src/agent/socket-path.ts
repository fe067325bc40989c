import { chmodSync, lstatSync, unlinkSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import { CarnetError } from '../errors.ts';

/** sockaddr_un holds 108 bytes, the last one a NUL (unix(7)); a longer path would be cut in silence. */
const MAX_PATH_BYTES = 107;
/** Ours: a whole node's proxies may connect within a moment, and a full backlog turns them away (connect(2), EAGAIN). */
const BACKLOG = 4096;

/**
 * Listens on a Unix socket at `path`, with the file mode `mode`. A socket that a dead server left behind is
 * removed, but only where nobody answers on it. Throws `config_invalid` for a path that can't be one, and
 * `conflict` when another server has it.
 */
export async function listenOnPath(server: Server, path: string, mode: number): Promise<void> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES)
    throw new CarnetError(
      'config_invalid',
      `${path} has ${Buffer.byteLength(path)} bytes, and a socket's path at most ${MAX_PATH_BYTES}: choose a shorter one, for example with --agent-socket`,
    );
  await removeStaleSocket(path);
  await new Promise<void>((resolve, reject) => {
    const fail = (cause: Error): void =>
      reject(new CarnetError('config_invalid', `can't listen on ${path}: ${cause.message}`, { cause }));
    server.once('error', fail);
    server.listen({ path, backlog: BACKLOG }, () => {
      server.off('error', fail);
      resolve();
    });
  });
  chmodSync(path, mode);
}

async function removeStaleSocket(path: string): Promise<void> {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket())
    throw new CarnetError(
      'config_invalid',
      `${path} exists and is no socket: move it, or choose another path`,
    );
  const answer = await probe(path);
  if (answer === 'ENOENT') return;
  if (answer !== 'ECONNREFUSED')
    throw new CarnetError(
      'conflict',
      `another server has ${path} already (${answer}): stop it, or choose another path`,
    );
  unlinkSync(path);
}

/** `connected`, or the code of the error. */
function probe(path: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve('connected');
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
}
