import { closeSync, readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { constants } from 'node:os';
import koffi from 'koffi';
import { CarnetError } from '../errors.ts';

/**
 * The process that connected, by the kernel's word at the moment of `connect()`. It stays the same when the
 * caller later drops rights, runs another program, passes the socket on, or ends.
 */
export interface Peer {
  /** As we number processes. */
  readonly pid: number;
  /** Effective, as we number users and groups. */
  readonly uid: number;
  readonly gid: number;
  /** When this was asked, after the connection was accepted: milliseconds since boot, sleep included. */
  readonly askedAtBootMs: number;
  /**
   * Whether the process has ended, so that its number may belong to another one by now. Always false before
   * Linux 6.5, which has no handle of the very process that connected.
   */
  hasExited(): boolean;
  /** Lets go of the handle. To be called once, when nothing more will be asked. */
  close(): void;
}

const SOL_SOCKET = 1;
const SO_PEERCRED = process.arch === 'ppc64' ? 21 : 17;
const SO_PEERPIDFD = 77;
const CLOCK_BOOTTIME = 7;

const libc = koffi.load(null);
const getsockopt = libc.func(
  'int getsockopt(int fd, int level, int option, _Out_ void *value, _Inout_ uint32_t *length)',
);
const clock_gettime = libc.func('int clock_gettime(int clock, _Out_ int64_t *seconds_and_nanoseconds)');

/**
 * Asks the kernel who is at the other end of an accepted Unix socket. Throws `attestation_failed` when that
 * can't be known, or is a process that we don't see.
 */
export function readPeer(socket: Socket): Peer {
  const credentials = new Int32Array(3);
  if (!socketOption(descriptorOf(socket), SO_PEERCRED, credentials))
    throw failed(`the kernel does not say who connected (SO_PEERCRED, errno ${koffi.errno()})`);
  const [pid = 0, ...ids] = credentials;
  const [uid = 0, gid = 0] = Uint32Array.from(ids);
  if (pid <= 0)
    throw failed(
      `a caller of user ${uid} is in another PID namespace, where we can't look: the agent needs the host's (hostPID)`,
    );
  const pidfd = openPidfd(socket);
  return {
    pid,
    uid,
    gid,
    askedAtBootMs: bootMs(),
    hasExited: () => pidfd !== null && pidOfPidfd(pidfd) !== pid,
    close: () => {
      if (pidfd !== null) closeSync(pidfd);
    },
  };
}

/** A descriptor of the connected process, or null where the kernel knows no such option. */
function openPidfd(socket: Socket): number | null {
  const pidfd = new Int32Array(1);
  if (socketOption(descriptorOf(socket), SO_PEERPIDFD, pidfd)) return pidfd[0] ?? null;
  if (koffi.errno() === constants.errno.ENOPROTOOPT) return null;
  throw failed(`the caller has ended (SO_PEERPIDFD, errno ${koffi.errno()})`);
}

/** Milliseconds since boot, sleep included: the clock of the start times in /proc. */
export function bootMs(): number {
  const time = new BigInt64Array(2);
  if (clock_gettime(CLOCK_BOOTTIME, time) !== 0)
    throw new CarnetError('internal', `clock_gettime(CLOCK_BOOTTIME): errno ${koffi.errno()}`);
  const [seconds = 0n, nanoseconds = 0n] = time;
  return Number(seconds) * 1000 + Number(nanoseconds) / 1e6;
}

/** Fills `value`, all of it, or says that it couldn't. */
function socketOption(descriptor: number, option: number, value: Int32Array): boolean {
  const length = new Uint32Array([value.byteLength]);
  return getsockopt(descriptor, SOL_SOCKET, option, value, length) === 0 && length[0] === value.byteLength;
}

/** Node has no public way to a socket's descriptor; libuv's handle has shown it since Node 0.x. */
function descriptorOf(socket: Socket): number {
  const { _handle: handle } = socket as Socket & { _handle?: { fd?: number } | null };
  if (typeof handle?.fd !== 'number' || handle.fd < 0) throw failed('the caller has hung up already');
  return handle.fd;
}

/** The process's number, or -1 once it has ended and was waited for: only then can its number be reused. */
function pidOfPidfd(pidfd: number): number {
  const [, pid = '-1'] = /^Pid:\s*(-?\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${pidfd}`, 'latin1')) ?? [];
  return Number(pid);
}

function failed(message: string): CarnetError {
  return new CarnetError('attestation_failed', message);
}
