import { readFileSync, statSync } from 'node:fs';

/** Names of users and groups by number. */
export interface Accounts {
  userName(uid: number): string | null;
  groupName(gid: number): string | null;
}

/**
 * Reads names from passwd(5) and group(5) files, again after each change of them. Only from the files: users
 * of a directory service (NSS) have no name here, and none is waited for. A missing file has no names.
 */
export function createAccounts(passwdFile: string, groupFile: string): Accounts {
  const users = namesIn(passwdFile);
  const groups = namesIn(groupFile);
  return {
    userName: (uid) => users().get(uid) ?? null,
    groupName: (gid) => groups().get(gid) ?? null,
  };
}

/** Both files have the name in the first field and the number in the third. */
function namesIn(file: string): () => ReadonlyMap<number, string> {
  let seen: string | undefined;
  let names: ReadonlyMap<number, string> = new Map();
  return () => {
    const stat = statSync(file, { bigint: true, throwIfNoEntry: false });
    const now = stat && `${stat.dev}:${stat.ino}:${stat.size}:${stat.mtimeNs}:${stat.ctimeNs}`;
    if (now !== seen) {
      names = stat === undefined ? new Map() : parseNames(readFileSync(file, 'utf8'));
      seen = now;
    }
    return names;
  };
}

/** The first line with a number counts, as for getpwuid(3). */
function parseNames(text: string): Map<number, string> {
  const names = new Map<number, string>();
  for (const line of text.split('\n')) {
    const [, name, id] = /^([^:\s]+):[^:]*:(\d{1,10}):/.exec(line) ?? [];
    if (name !== undefined && !names.has(Number(id))) names.set(Number(id), name);
  }
  return names;
}
