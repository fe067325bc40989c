import { createHash } from 'node:crypto';
import { type BigIntStats, closeSync, fstatSync, openSync, readlinkSync, readSync, statSync } from 'node:fs';
import { parentPort, workerData } from 'node:worker_threads';
import {
  type Executable,
  type ExecutableReply,
  type ExecutableRequest,
  type KnownHash,
  remember,
} from './executable.ts';
import { printable } from './printable.ts';

/**
 * The thread in which executables are read. All of its I/O is synchronous: it may hang with a file system
 * (NFS, FUSE), and then it hangs alone, where in libuv's pool it would in time take every file, name look-up
 * and key generation of the process with it. executable-reader.ts gives it one request at a time.
 */

/** Ours: above Envoy with its debug symbols left out, below what would keep the thread busy for seconds. */
const MAX_SIZE_BYTES = 512 * 1024 * 1024;
const CHUNK_BYTES = 1024 * 1024;
/** A file that changed this recently could change again within the same tick of its change time. */
const SETTLED_MS = 2000;

/** What the threads before this one found. A file's change time, which is part of its identity, is the kernel's own word. */
const cache = new Map<string, string>(workerData as Iterable<KnownHash>);
const chunk = Buffer.allocUnsafe(CHUNK_BYTES);

parentPort?.on('message', ({ link }: ExecutableRequest) => {
  parentPort?.postMessage(reply(link));
});

function reply(link: string): ExecutableReply {
  try {
    return readExecutable(link);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'EACCES' || code === 'EPERM')
      return {
        executable: { path: null, pathIsOurs: false, sha256: null, problem: `unreadable: ${code}` },
        known: null,
      };
    return { failed: code === 'ENOENT' || code === 'ESRCH' ? 'the caller has ended' : message };
  }
}

/** Opening the link opens the file that runs, whatever its path names by now (proc_pid_exe(5)). */
function readExecutable(link: string): { executable: Executable; known: KnownHash | null } {
  const startedMs = Date.now();
  const target = readlinkSync(link, { encoding: 'buffer' });
  const descriptor = openSync(link, 'r');
  try {
    const file = fstatSync(descriptor, { bigint: true });
    const identity = identityOf(file);
    const sha256 = file.size > MAX_SIZE_BYTES ? null : (cache.get(identity) ?? digest(descriptor));
    if (
      identityOf(fstatSync(descriptor, { bigint: true })) !== identity ||
      !isSameFile(statSync(link, { bigint: true }), file) ||
      !readlinkSync(link, { encoding: 'buffer' }).equals(target)
    )
      throw new Error('the executable changed while it was read');
    const settled = sha256 !== null && startedMs - Number(file.ctimeMs) > SETTLED_MS;
    const known: KnownHash | null = settled ? [identity, sha256] : null;
    if (known !== null) remember(cache, known);
    return {
      executable: {
        path: printable(target),
        pathIsOurs: names(target, file),
        sha256,
        problem: sha256 === null ? `not hashed: longer than ${MAX_SIZE_BYTES} bytes` : null,
      },
      known,
    };
  } finally {
    closeSync(descriptor);
  }
}

function names(path: Buffer, file: BigIntStats): boolean {
  try {
    return isSameFile(statSync(path, { bigint: true }), file);
  } catch {
    return false;
  }
}

/** Null when the file holds more than it said: reading ends somewhere whatever a file system pretends. */
function digest(descriptor: number): string | null {
  const hash = createHash('sha256');
  for (let position = 0; position <= MAX_SIZE_BYTES; ) {
    const length = readSync(descriptor, chunk, 0, CHUNK_BYTES, position);
    if (length === 0) return hash.digest('hex');
    hash.update(chunk.subarray(0, length));
    position += length;
  }
  return null;
}

function identityOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`;
}

function isSameFile(a: BigIntStats, b: BigIntStats): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}
