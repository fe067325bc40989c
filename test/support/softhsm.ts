import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TokenOptions } from '../../src/ca/pkcs11-token.ts';
import { installed } from './apt.ts';

/** Where Debian and others put it. */
const MODULES = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib64/pkcs11/libsofthsm2.so',
  '/usr/local/lib/softhsm/libsofthsm2.so',
];
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
  const modulePath = installed(MODULES, 'softhsm2');
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

function run(command: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(command, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} failed: ${error?.message ?? stderr}`);
}
