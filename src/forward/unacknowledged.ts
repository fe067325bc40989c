import type { Socket } from 'node:net';
import koffi from 'koffi';
import { CarnetError } from '../errors.ts';

/** tcp(7): how much of what was written the other end's kernel has not acknowledged. */
const SIOCOUTQ = 0x5411;

const libc = koffi.load(null);
const ioctl = libc.func('int ioctl(int fd, unsigned long request, _Out_ void *value)');

/** Bytes written to a TCP socket that the other end's kernel has not acknowledged. Throws `unavailable` once it is closed. */
export function unacknowledgedBytes(socket: Socket): number {
  // Node has no public way to a socket's descriptor; libuv's handle has shown it since Node 0.x.
  const { _handle: handle } = socket as Socket & { _handle?: { fd?: number } | null };
  const bytes = new Int32Array(1);
  if (typeof handle?.fd !== 'number' || handle.fd < 0 || ioctl(handle.fd, SIOCOUTQ, bytes) !== 0)
    throw new CarnetError('unavailable', 'the connection is closed');
  return bytes[0] ?? 0;
}
