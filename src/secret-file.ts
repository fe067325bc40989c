import { open } from 'node:fs/promises';
import { CarnetError } from './errors.ts';

/** A chain of certificates in PEM, a key or a token is far shorter. */
const MAX_BYTES = 256 * 1024;

/** The text of a file that may hold a secret, which no error repeats. Throws `config_invalid`. */
export async function readSecretFile(path: string): Promise<string> {
  try {
    await using file = await open(path);
    const { size } = await file.stat();
    if (size > MAX_BYTES) throw new CarnetError('config_invalid', `${path} has more than ${MAX_BYTES} bytes`);
    const text = await file.readFile('utf8');
    if (text.trim() === '') throw new CarnetError('config_invalid', `${path} is empty`);
    return text;
  } catch (cause) {
    if (cause instanceof CarnetError) throw cause;
    throw new CarnetError(
      'config_invalid',
      `${path} cannot be read: ${(cause as NodeJS.ErrnoException).code}`,
      {
        cause,
      },
    );
  }
}
