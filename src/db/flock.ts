import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs';
import koffi from 'koffi';

/** flock(2): exclusive, and fail rather than wait. */
const LOCK_EX = 2;
const LOCK_NB = 4;

let flock: ((fd: number, operation: number) => number) | undefined;

/** An exclusive lock on a file, held until `release` or the end of the process, kill -9 included. */
export interface FileLock {
  release(): void;
}

/** Takes the lock of an open file, until that is closed; false where another process has it. */
export function tryLock(fd: number): boolean {
  flock ??= koffi.load(null).func('int flock(int fd, int operation)') as typeof flock & object;
  if (flock(fd, LOCK_EX | LOCK_NB) === 0) return true;
  const errno = koffi.errno();
  if (errno === koffi.os.errno.EWOULDBLOCK) return false;
  throw new Error(`flock(2) failed with errno ${errno}`);
}

/**
 * Takes the lock, or returns the process ID that the present holder wrote into the file (`null` where it
 * can't be read). Node opens files with O_CLOEXEC, so no child process inherits the lock.
 */
export function tryLockFile(path: string): FileLock | { readonly heldBy: number | null } {
  const fd = openSync(path, 'a+', 0o644);
  if (!tryLock(fd)) {
    const holder = Number.parseInt(readFileSync(fd, 'utf8'), 10);
    closeSync(fd);
    return { heldBy: Number.isNaN(holder) ? null : holder };
  }
  ftruncateSync(fd, 0);
  writeSync(fd, `${process.pid}\n`);
  return { release: () => closeSync(fd) };
}
