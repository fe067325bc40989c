import { spawnSync } from 'node:child_process';
import { mkdirSync, renameSync } from 'node:fs';
import { join, resolve } from 'node:path';

const CACHE = resolve(import.meta.dirname, '../../node_modules/.cache/carnet-test-go');
/** Modules are fetched and compiled: a minute on two cores the first time, a second afterwards. */
const BUILD_TIMEOUT_MS = 600_000;

/** Whether this machine has Go at all; its tests are left out where it has not. */
export function hasGo(): boolean {
  return spawnSync('go', ['version'], { stdio: 'ignore' }).status === 0;
}

/** Builds a Go program of a directory's module, by its go.sum: its own or one it depends on. Returns the executable's path. */
export function buildGo(directory: string, name: string, program = '.'): string {
  mkdirSync(CACHE, { recursive: true });
  const executable = join(CACHE, name);
  // Several tests build the same at once, and one may run it already.
  const fresh = `${executable}.${process.pid}`;
  const { status, error, stderr } = spawnSync('go', ['build', '-mod=readonly', '-o', fresh, program], {
    cwd: directory,
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
    timeout: BUILD_TIMEOUT_MS,
  });
  if (status !== 0)
    throw new Error(`${program} in ${directory} does not build: ${error?.message ?? stderr.slice(-2000)}`);
  renameSync(fresh, executable);
  return executable;
}
