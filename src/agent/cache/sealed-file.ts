import { constants } from 'node:fs';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { KeyEncryptionKey } from '../../ca/key-encryption-key.ts';
import { sealedUnder, sealKey, unsealKey } from '../../ca/seal.ts';
import { CarnetError } from '../../errors.ts';

/** In the place of an authority's ID: what is sealed as a cache opens as nothing else. */
const LABEL = 'agent cache';

/**
 * The contents of a sealed file; null where there is none. Throws `key_unseal_failed` where it is sealed under another
 * key, and `conflict` for one that was changed, cut off, or never was a cache.
 */
export async function readSealed(path: string, key: KeyEncryptionKey): Promise<Buffer | null> {
  const sealed = await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw new CarnetError('config_invalid', `the cache ${path} cannot be read: ${error.code}`, {
      cause: error,
    });
  });
  if (sealed === null) return null;
  const under = sealedUnder(sealed);
  if (under !== null && under !== key.id)
    throw new CarnetError(
      'key_unseal_failed',
      `the cache ${path} is sealed under key ${under}, and ${key.id} was given: give that key, or delete the cache`,
    );
  try {
    return unsealKey(key, LABEL, sealed);
  } catch (cause) {
    throw new CarnetError('conflict', `the cache ${path} was changed or is damaged`, { cause });
  }
}

/** Replaces the file by one of mode 0600 with these contents, sealed, or leaves the one that is there. */
export async function writeSealed(path: string, key: KeyEncryptionKey, contents: Uint8Array): Promise<void> {
  const next = `${path}.next`;
  await rm(next, { force: true });
  const file = await open(next, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o600);
  try {
    await file.writeFile(sealKey(key, LABEL, contents));
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(next, path);
  await using directory = await open(dirname(path));
  await directory.sync();
}
