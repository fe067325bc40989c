import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { EMPTY_ROOT } from '../../src/audit/log/merkle.ts';
import { freePort } from '../support/free-port.ts';
import { buildGo } from '../support/go.ts';

/** A witness that none of us wrote: filippo.io/torchwood's litewitness, with a key of its own. */
export interface Litewitness extends AsyncDisposable {
  readonly vkey: string;
  readonly url: string;
  /** Has it cosign a log from now on, by the log's verifier key: what `witnessctl add-log` and `add-key` do. */
  addLog(vkey: string): void;
  /** What it keeps of the logs that it cosigns. */
  logs(): { readonly origin: string; readonly size: number }[];
}

const MODULE = join(import.meta.dirname, 'go');
const VKEY = /vkey="?([^\s"]+)"?\s/;
const MAX_SAID = 4096;

export async function startLitewitness(name: string): Promise<Litewitness> {
  const directory = mkdtempSync(join(tmpdir(), 'carnet-witness-'));
  const [socket, file] = [join(directory, 'agent'), join(directory, 'witness.db')];
  const children: ChildProcess[] = [];
  const stop = async (): Promise<void> => {
    for (const child of children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const closed = once(child, 'close');
      child.kill('SIGKILL');
      await closed;
    }
    rmSync(directory, { recursive: true });
  };
  try {
    const keyring = spawn(buildGo(MODULE, 'keyring', './keyring'), [socket], { stdio: 'pipe' });
    children.push(keyring);
    const fingerprint = await wordsOf(keyring, /^(SHA256:\S+)\n/);
    const port = await freePort();
    const program = buildGo(MODULE, 'litewitness', 'filippo.io/torchwood/cmd/litewitness');
    const flags = ['-db', file, '-name', name, '-ssh-agent', socket, '-key', fingerprint];
    const witness = spawn(program, [...flags, '-listen', `127.0.0.1:${port}`], { stdio: 'pipe' });
    children.push(witness);
    const vkey = await wordsOf(witness, VKEY);
    return {
      vkey,
      url: `http://127.0.0.1:${port}`,
      addLog: (logKey) =>
        inDatabase(file, (database) => {
          const [origin = ''] = logKey.split('+');
          const root = Buffer.from(EMPTY_ROOT).toString('base64');
          const log = 'INSERT INTO log (origin, tree_size, tree_hash) VALUES (?, 0, ?)';
          database.prepare(log).run(origin, root);
          database.prepare('INSERT INTO key (origin, key) VALUES (?, ?)').run(origin, logKey);
        }),
      logs: () =>
        inDatabase(file, (database) =>
          database
            .prepare('SELECT origin, tree_size FROM log')
            .all()
            .map(({ origin, tree_size }) => ({ origin: String(origin), size: Number(tree_size) })),
        ),
      [Symbol.asyncDispose]: stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Waits for a program to say something, and reads on for as long as it lives. Throws what it said where it ends instead. */
async function wordsOf(child: ChildProcess, pattern: RegExp): Promise<string> {
  const found = Promise.withResolvers<string>();
  let said = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-MAX_SAID);
      const words = pattern.exec(said)?.[1];
      if (words !== undefined) found.resolve(words);
    });
  child.once('close', () => found.reject(new Error(`${child.spawnfile} ended: ${said}`)));
  child.once('error', found.reject);
  return found.promise;
}

/** Beside the witness, which has its own connection. */
function inDatabase<T>(file: string, work: (database: DatabaseSync) => T): T {
  const database = new DatabaseSync(file, { timeout: 10_000 });
  try {
    return work(database);
  } finally {
    database.close();
  }
}
