import { chmodSync, mkdirSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { CarnetError } from '../errors.ts';
import { tryLockFile } from './flock.ts';

/** A data directory that this process, and no other, works in. */
export interface DataDir {
  /** Absolute, without symbolic links. */
  readonly path: string;
  close(): void;
}

/**
 * Makes the data directory if need be and locks it. A new one may be searched by all (0755 whatever the
 * umask), because the agent's socket in it serves callers of every user; what is secret in it has a mode of
 * its own. The mode of one that exists is the operator's.
 *
 * Throws `data_dir_in_use` while another process holds it, `config_invalid` where it can't be used.
 */
export function openDataDir(directory: string): DataDir {
  const path = makeDirectory(directory);
  const lock = lockOf(path);
  if ('heldBy' in lock)
    throw new CarnetError(
      'data_dir_in_use',
      `the data directory ${path} is in use by process ${lock.heldBy ?? '(unknown)'}: stop that one first, or choose another with --data-dir`,
    );
  return { path, close: lock.release };
}

function makeDirectory(directory: string): string {
  try {
    const made = mkdirSync(directory, { recursive: true });
    if (made !== undefined) chmodSync(directory, 0o755);
    return realpathSync(directory);
  } catch (error) {
    throw unusable(directory, error);
  }
}

function lockOf(path: string): ReturnType<typeof tryLockFile> {
  try {
    return tryLockFile(join(path, 'carnet.lock'));
  } catch (error) {
    throw unusable(path, error);
  }
}

function unusable(directory: string, error: unknown): CarnetError {
  const why = error instanceof Error ? error.message : String(error);
  return new CarnetError(
    'config_invalid',
    `the data directory ${directory} cannot be used (${why}): choose another with --data-dir`,
    { cause: error },
  );
}
