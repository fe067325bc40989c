import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { chownSync, readFileSync, statSync } from 'node:fs';
import { CarnetError } from '../errors.ts';

/**
 * How PostgreSQL runs: as we do, as another user (`uid`, `gid`), or in a user namespace that shows our own
 * files and process to it as that user's. PostgreSQL refuses to run as root.
 */
export type PostgresAccount =
  | { readonly kind: 'self' }
  | { readonly kind: 'user'; readonly uid: number; readonly gid: number }
  | { readonly kind: 'namespace'; readonly uid: number; readonly gid: number };

/** Who PostgreSQL runs as for root: the first of these that the machine has. */
const UNPRIVILEGED_USERS = ['postgres', 'nobody'];

/**
 * Chooses the account for a cluster that is yet to be made. `program` and the search of `parentDirectory` must
 * be permitted to it; a checkout under a closed /root is not, and then a namespace is taken.
 *
 * Throws `config_invalid` where PostgreSQL can't be run at all.
 */
export async function chooseAccount(program: string, parentDirectory: string): Promise<PostgresAccount> {
  if (process.getuid?.() !== 0) return { kind: 'self' };
  const users = UNPRIVILEGED_USERS.flatMap((name) => passwdEntry((entry) => entry.name === name) ?? []);
  for (const kind of ['user', 'namespace'] as const)
    for (const { uid, gid } of users) {
      const account = { kind, uid, gid };
      if (await canRun(account, program, parentDirectory)) return account;
    }
  throw new CarnetError(
    'config_invalid',
    `PostgreSQL does not run as root, and neither ${UNPRIVILEGED_USERS.join(' nor ')} can run ${program} and reach ${parentDirectory}, nor is a user namespace permitted: start as a normal user, or give a PostgreSQL of yours with --database-url`,
  );
}

/**
 * The account for a cluster that exists: its owner's word decides. Throws `config_invalid` where that account
 * can't be taken or can't reach the cluster any more.
 */
export async function accountOf(cluster: string, program: string): Promise<PostgresAccount> {
  const owner = statSync(cluster).uid;
  const ours = process.getuid?.();
  if (owner === ours && ours !== 0) return { kind: 'self' };
  if (ours === 0) {
    const account = owner === 0 ? namespaceAccount() : userAccount(owner);
    if (account && (await canRun(account, program, cluster))) return account;
  }
  throw new CarnetError(
    'config_invalid',
    `the embedded database ${cluster} belongs to user ${owner}, as whom user ${ours} cannot run ${program} on it: start as its owner, let the owner reach both paths, or give a PostgreSQL of yours with --database-url`,
  );
}

/** Starts a program under the account, in a session of its own: a terminal's Ctrl-C must reach us only. */
export function spawnAs(
  account: PostgresAccount,
  program: string,
  args: readonly string[],
  options: SpawnOptions,
): ChildProcess {
  const own: SpawnOptions = { ...options, detached: true };
  if (account.kind === 'self') return spawn(program, args, own);
  const { uid, gid } = account;
  if (account.kind === 'user') return spawn(program, args, { ...own, uid, gid });
  return spawn('unshare', ['--user', `--map-user=${uid}`, `--map-group=${gid}`, '--', program, ...args], own);
}

/** Gives a file or directory that we made to the account. */
export function giveTo(account: PostgresAccount, path: string): void {
  if (account.kind === 'user') chownSync(path, account.uid, account.gid);
}

function namespaceAccount(): PostgresAccount | undefined {
  const user = passwdEntry((entry) => UNPRIVILEGED_USERS.includes(entry.name));
  return user && { kind: 'namespace', uid: user.uid, gid: user.gid };
}

function userAccount(uid: number): PostgresAccount | undefined {
  const user = passwdEntry((entry) => entry.uid === uid);
  return user && { kind: 'user', uid, gid: user.gid };
}

/** Tries it: whether the account may enter `directory` and run `program` is for the kernel to say. */
function canRun(account: PostgresAccount, program: string, directory: string): Promise<boolean> {
  const script = 'cd -- "$1" && exec "$2" --version';
  return new Promise((resolve) => {
    spawnAs(account, '/bin/sh', ['-c', script, 'sh', directory, program], { cwd: '/', stdio: 'ignore' })
      .once('error', () => resolve(false))
      .once('exit', (code) => resolve(code === 0));
  });
}

interface PasswdEntry {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

function passwdEntry(matches: (entry: PasswdEntry) => boolean): PasswdEntry | undefined {
  for (const line of readFileSync('/etc/passwd', 'utf8').split('\n')) {
    const [name = '', , uid, gid] = line.split(':');
    const entry = { name, uid: Number(uid), gid: Number(gid) };
    if (name !== '' && matches(entry)) return entry;
  }
  return undefined;
}
