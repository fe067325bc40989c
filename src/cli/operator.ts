import { join } from 'node:path';
import { Command } from 'commander';
import { Client } from './client.ts';
import type { Terminal } from './output.ts';

const DEFAULT_SERVER = 'http://127.0.0.1:8080';
const DEFAULT_DATA_DIR = 'carnet-data';

/** The options that every operator command takes. */
export interface OperatorFlags {
  readonly server?: string;
  readonly tokenFile?: string;
  readonly dataDir?: string;
  readonly json?: boolean;
}

/** A command that talks to a server as an operator. */
export function operatorCommand(name: string): Command {
  return new Command(name)
    .option('--json', 'one JSON document; for a list one a line')
    .option('--server <URL>', `the server; or CARNET_SERVER (default: ${DEFAULT_SERVER})`)
    .option(
      '--token-file <FILE>',
      'file with the token; or CARNET_TOKEN_FILE (default: <data-dir>/admin.token)',
    )
    .option('--data-dir <DIR>', `the server's data; or CARNET_DATA_DIR (default: ./${DEFAULT_DATA_DIR})`);
}

/** The client that the flags ask for: flag, else environment, else default. Throws `config_invalid`. */
export function clientOf(flags: OperatorFlags, { env }: Terminal): Client {
  const dataDir = flags.dataDir ?? (env.CARNET_DATA_DIR || DEFAULT_DATA_DIR);
  return new Client(
    flags.server ?? (env.CARNET_SERVER || DEFAULT_SERVER),
    flags.tokenFile ?? (env.CARNET_TOKEN_FILE || join(dataDir, 'admin.token')),
  );
}

/** For options that may be given several times, without a default: help would print an empty list. */
export function collect(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}
