import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { User } from './carnet.ts';

const CHECKOUT = resolve(import.meta.dirname, '../..');
const NEEDED = ['package.json', 'src', 'migrations', 'node_modules'];

export interface Checkout extends Disposable {
  readonly path: string;
  /** Whether it had to be copied. */
  readonly copied: boolean;
}

/** A checkout that the user can run: this one, or, where it is closed to others (under /root, say), a copy of it. */
export function checkoutFor(user: User | undefined): Checkout {
  const main = join(CHECKOUT, 'src/main.ts');
  if (spawnSync(process.execPath, [main, '--version'], { cwd: '/', ...user }).status === 0)
    return { path: CHECKOUT, copied: false, [Symbol.dispose]: () => undefined };
  const path = join(tmpdir(), `checkout-${user?.uid}`);
  mkdirSync(path, { mode: 0o755 });
  const copy =
    'tar -C "$1" --exclude=node_modules/.cache -cf - -- $3 | tar -C "$2" -xf - && chmod -R a+rX -- "$2"';
  const { status, stderr } = spawnSync('sh', ['-c', copy, 'sh', CHECKOUT, path, NEEDED.join(' ')]);
  if (status !== 0) throw new Error(`the checkout could not be copied: ${stderr}`);
  return { path, copied: true, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}
