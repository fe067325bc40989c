import { readFile } from 'node:fs/promises';
import { CarnetError } from '../errors.ts';

/** A file that was named on the command line, as text. Throws `not_found`. */
export async function readGiven(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new CarnetError('not_found', `${file} cannot be read`, { cause: error });
  }
}
