import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** The network may fail, and somebody else may be installing. */
const APT = 'apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120';
const INSTALL_TIMEOUT_MS = 280_000;

/**
 * The first of `paths` that is there; before it says that none is, it installs Debian's `packageName`, where we are
 * root on Debian. One test at a time: a second apt would fail, not wait.
 */
export function installed(paths: readonly string[], packageName: string): string {
  const find = () => paths.find((path) => existsSync(path));
  if (find() === undefined && process.getuid?.() === 0 && existsSync('/usr/bin/apt-get'))
    install(packageName);
  const found = find();
  if (found === undefined)
    throw new Error(
      `this test needs ${packageName} (on Debian: apt install ${packageName}); without root it is not installed`,
    );
  return found;
}

function install(packageName: string): void {
  const script = `${APT} update && ${APT} install -y --no-install-recommends ${packageName}`;
  const { status, stderr, error } = spawnSync(
    'flock',
    [join(tmpdir(), 'carnet-apt.lock'), 'sh', '-c', script],
    {
      encoding: 'utf8',
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
      timeout: INSTALL_TIMEOUT_MS,
    },
  );
  if (status !== 0) throw new Error(`${packageName} could not be installed: ${error?.message ?? stderr}`);
}
