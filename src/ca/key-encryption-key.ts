import { createHmac, createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import { constants, type FileHandle, open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { CarnetError, errorCodeOf } from '../errors.ts';

/** The key under which CA keys are sealed at rest (ca/seal.ts): AES-256. */
export interface KeyEncryptionKey {
  /** Tells keys apart without telling anything of them: 16 digits of lower-case hex. */
  readonly id: string;
  readonly key: KeyObject;
}

const KEY_BYTES = 32;
/** Longer than any of the spellings below. */
const MAX_FILE_BYTES = 1024;
/** Readable or writable by the group or by others. */
const SHARED_MODE = 0o077;

/** Reads a key from its text: 64 digits of hex, or base64. Throws `config_invalid`. */
export function parseKeyEncryptionKey(text: string): KeyEncryptionKey {
  const trimmed = text.trim();
  const bytes = Buffer.from(trimmed, /^[0-9a-f]{64}$/i.test(trimmed) ? 'hex' : 'base64');
  const wellFormed = /^(?:[0-9a-f]{64}|[A-Za-z0-9+/]{43}=)$/i.test(trimmed);
  if (!wellFormed || bytes.length !== KEY_BYTES)
    throw new CarnetError(
      'config_invalid',
      'the key-encryption key must be 32 bytes, as 64 digits of hex or in base64 (openssl rand -base64 32)',
    );
  return keyEncryptionKey(bytes);
}

/**
 * The key in `text` (from the environment) where there is one, else the key in the file, which is made if it
 * does not exist. Throws `config_invalid`.
 */
export async function loadKeyEncryptionKey(path: string, text?: string): Promise<KeyEncryptionKey> {
  if (text !== undefined) return parseKeyEncryptionKey(text);
  try {
    return await readKeyEncryptionKey(path);
  } catch (error) {
    if (errorCodeOf(error) !== 'not_found') throw error;
    return createKeyEncryptionKey(path);
  }
}

/** Reads the key from a file that nobody but its owner can read. Throws `config_invalid`, `not_found`. */
export async function readKeyEncryptionKey(path: string): Promise<KeyEncryptionKey> {
  const file = await openFile(path, constants.O_RDONLY);
  try {
    const { mode, size } = await file.stat();
    if ((mode & SHARED_MODE) !== 0)
      throw new CarnetError(
        'config_invalid',
        `the key-encryption key ${path} can be read by others (mode ${(mode & 0o777).toString(8)}); run chmod 600 ${path}`,
      );
    if (size > MAX_FILE_BYTES)
      throw new CarnetError('config_invalid', `${path} is too large to be a key-encryption key`);
    return parseKeyEncryptionKey(await file.readFile('utf8'));
  } finally {
    await file.close();
  }
}

/**
 * Makes a new key and writes it to a file of mode 0600 that must not exist yet; on return it is on the disk.
 * Throws `already_exists`.
 */
export async function createKeyEncryptionKey(path: string): Promise<KeyEncryptionKey> {
  const bytes = randomBytes(KEY_BYTES);
  const file = await openFile(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL);
  try {
    await file.writeFile(`${bytes.toString('base64')}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await syncDirectory(dirname(path));
  return keyEncryptionKey(bytes);
}

function keyEncryptionKey(bytes: Buffer): KeyEncryptionKey {
  const key = createSecretKey(bytes);
  bytes.fill(0);
  const id = createHmac('sha256', key).update('carnet key-encryption key').digest('hex').slice(0, 16);
  return { id, key };
}

async function openFile(path: string, flags: number): Promise<FileHandle> {
  try {
    return await open(path, flags, 0o600);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT')
      throw new CarnetError('not_found', `there is no key-encryption key at ${path}`, { cause });
    if (code === 'EEXIST')
      throw new CarnetError('already_exists', `there already is a key-encryption key at ${path}`, { cause });
    throw new CarnetError('config_invalid', `the key-encryption key ${path} cannot be opened: ${code}`, {
      cause,
    });
  }
}

/** A new file is only on the disk when its directory's entry is. */
async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, constants.O_RDONLY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}
