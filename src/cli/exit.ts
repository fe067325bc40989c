import { CommanderError } from 'commander';
import { CarnetError } from '../errors.ts';

export const EXIT_FAILED = 1;
export const EXIT_USAGE = 2;

/** The exit code of the contract: 0 done, 1 failed, 2 bad usage. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : EXIT_USAGE;
  if (error instanceof CarnetError && error.code === 'config_invalid') return EXIT_USAGE;
  return EXIT_FAILED;
}

/** One line on stderr for what Carnet foresaw; the whole error for what it did not. */
export function reportError(error: unknown): void {
  const text =
    error instanceof CarnetError ? error.message : error instanceof Error ? error.stack : String(error);
  process.stderr.write(`carnet: ${text}\n`);
}
