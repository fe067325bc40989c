import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TokenOptions } from '../../src/ca/pkcs11-token.ts';

/** Where Debian and others put it. */
const MODULES = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib64/pkcs11/libsofthsm2.so',
  '/usr/local/lib/softhsm/libsofthsm2.so',
];
/** The network may fail, and somebody else may be installing. */
const APT = 'apt-get -qq -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120';
const INSTALL = `${APT} update && ${APT} install -y --no-install-recommends softhsm2`;
const INSTALL_TIMEOUT_MS = 240_000;
const PIN = '4711-secret';

/** A token of SoftHSM2 in a directory of its own. */
export interface SoftToken {
  readonly directory: string;
  /** Moved away, the token is gone. */
  readonly tokens: string;
  readonly pin: string;
  readonly options: Omit<TokenOptions, 'onChange'>;
}

/** A new token named `label`, which this process and its children find from now on. */
export function createSoftToken(label: string): SoftToken {
  const modulePath = softHsmModule();
  const directory = mkdtempSync(join(tmpdir(), 'carnet-softhsm-'));
  const tokens = join(directory, 'tokens');
  const pinFile = join(directory, 'pin');
  mkdirSync(tokens);
  writeFileSync(join(directory, 'softhsm2.conf'), `directories.tokendir = ${tokens}\nlog.level = ERROR\n`);
  writeFileSync(pinFile, `${PIN}\n`, { mode: 0o600 });
  process.env.SOFTHSM2_CONF = join(directory, 'softhsm2.conf');
  const names = ['--init-token', '--free', '--label', label, '--pin', PIN, '--so-pin', 'security-officer'];
  run('softhsm2-util', names);
  return { directory, tokens, pin: PIN, options: { modulePath, token: { label }, pinFile } };
}

/** The library, installed first where it is missing and we are root on Debian. One process at a time. */
function softHsmModule(): string {
  const found = MODULES.find((path) => existsSync(path));
  if (found !== undefined) return found;
  if (process.getuid?.() === 0 && existsSync('/usr/bin/apt-get'))
    run('flock', [join(tmpdir(), 'carnet-softhsm.lock'), 'sh', '-c', INSTALL]);
  const installed = MODULES.find((path) => existsSync(path));
  if (installed === undefined)
    throw new Error(
      'this test needs SoftHSM2 (on Debian: apt install softhsm2); without root it is not installed',
    );
  return installed;
}

function run(command: string, args: readonly string[]): void {
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const { status, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    env,
    timeout: INSTALL_TIMEOUT_MS,
  });
  if (status !== 0) throw new Error(`${command} failed: ${error?.message ?? stderr}`);
}
