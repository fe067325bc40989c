import { mkdir, open, readdir, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Identity } from './identity.ts';

const CURRENT = '.current';
const GENERATION = /^\.generation-\d+$/;

/**
 * Writes `svid.pem`, `svid.key` (mode 0600) and `bundle.pem` into `directory`, which is made if need be. The
 * three are links into one generation behind one link, which is replaced by a rename: whoever opens them sees a
 * key that fits its certificate, the old or the new, also after a crash between any two steps. What could not be
 * written whole is removed.
 */
export async function writeIdentity(directory: string, identity: Identity, now: number): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o755 });
  const generation = `.generation-${now}`;
  await mkdir(join(directory, generation), { mode: 0o755 });
  const files = [
    ['svid.pem', identity.svidPem, 0o644],
    ['svid.key', identity.keyPem, 0o600],
    ['bundle.pem', identity.bundlePem, 0o644],
  ] as const;
  try {
    for (const [name, text, mode] of files) await writeSynced(join(directory, generation, name), text, mode);
  } catch (error) {
    await rm(join(directory, generation), { recursive: true, force: true });
    throw error;
  }
  await replaceLink(join(directory, CURRENT), generation);
  for (const [name] of files) await replaceLink(join(directory, name), join(CURRENT, name));
  await removeOldGenerations(directory, generation);
}

async function writeSynced(path: string, text: string, mode: number): Promise<void> {
  const file = await open(path, 'wx', mode);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function replaceLink(path: string, target: string): Promise<void> {
  const next = `${path}.next`;
  await rm(next, { force: true });
  await symlink(target, next);
  await rename(next, path);
}

async function removeOldGenerations(directory: string, current: string): Promise<void> {
  for (const name of await readdir(directory))
    if (GENERATION.test(name) && name !== current) await rm(join(directory, name), { recursive: true });
}
