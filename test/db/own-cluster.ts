import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type DataDir, openDataDir } from '../../src/db/data-dir.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '../../src/db/embedded.ts';
import { log } from './fixtures.ts';

/** An embedded PostgreSQL of a test's own, durable as in production. */
export interface OwnCluster extends AsyncDisposable {
  readonly dataDir: DataDir;
  readonly postgres: EmbeddedPostgres;
}

/** A directory that is removed at the end of the block; by default one that every user may search. */
export function temporaryDirectory(mode = 0o755): { readonly path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), 'carnet-db-'));
  chmodSync(path, mode);
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

/** A data directory with a cluster that is stopped: a copy of the first one, because making one takes a second. */
export async function temporaryCluster(): Promise<{ readonly path: string } & Disposable> {
  template ??= makeTemplate();
  const directory = temporaryDirectory();
  spawnSync('cp', ['-a', join(await template, 'postgres'), directory.path], { stdio: 'inherit' });
  return directory;
}

let template: Promise<string> | undefined;

async function makeTemplate(): Promise<string> {
  const { path } = temporaryDirectory();
  process.once('exit', () => rmSync(path, { recursive: true, force: true }));
  await (await startOwn(path))[Symbol.asyncDispose]();
  return path;
}

export async function startOwn(directory: string): Promise<OwnCluster> {
  const dataDir = openDataDir(directory);
  try {
    const postgres = await startEmbeddedPostgres({ dataDir, log });
    return {
      dataDir,
      postgres,
      [Symbol.asyncDispose]: async () => {
        await postgres.stop();
        dataDir.close();
      },
    };
  } catch (error) {
    dataDir.close();
    throw error;
  }
}

/** A process of its own with an embedded PostgreSQL on the directory, as the user (ours where none is given). */
export async function startInProcess(
  directory: string,
  user: { uid?: number; gid?: number } = {},
): Promise<{ child: ChildProcess; url: string; pid: number }> {
  const program = join(import.meta.dirname, 'embedded-process.ts');
  const child = spawn(process.execPath, [program, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd: '/',
    ...user,
  });
  const line = await Promise.race([
    once(child.stdout, 'data').then(([chunk]: Buffer[]) => String(chunk)),
    once(child, 'exit').then(([code]) => {
      throw new Error(`the process with PostgreSQL ended with ${code}`);
    }),
  ]);
  return { child, ...(JSON.parse(line) as { url: string; pid: number }) };
}
