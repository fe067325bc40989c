import { open, readFile } from 'node:fs/promises';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import type { Role } from '../api/role.ts';
import type { TokenStore } from '../api/token.ts';
import { createTokenText, hashToken, isTokenText } from '../api/token-text.ts';
import { CarnetError, errorCodeOf } from '../errors.ts';
import { parseSelector } from '../identity/selector.ts';
import { spiffeIdOf, type TrustDomain } from '../identity/spiffe-id.ts';
import type { EntryStore } from '../policy/entry-store.ts';

const ACTOR = 'server:first-start';
const INITIAL_TOKENS: readonly Role[] = ['admin', 'auditor'];

/**
 * What a newcomer's next command needs: a token of each role in the data directory, and an entry for the user
 * who started the server. Made once in a database's life; a start that was cut short is finished by the next.
 */
export async function prepareFirstStart(
  dataDir: string,
  trustDomain: TrustDomain,
  tokens: TokenStore,
  entries: EntryStore,
): Promise<void> {
  const isFirst = (await tokens.list()).length === 0;
  if (isFirst) await createUserEntry(trustDomain, entries);
  // The files first: with them alone, the next start knows what was meant.
  for (const role of INITIAL_TOKENS) if (isFirst) await writeToken(dataDir, role);
  for (const role of INITIAL_TOKENS) await registerToken(dataDir, role, tokens);
}

async function writeToken(dataDir: string, role: Role): Promise<void> {
  if ((await readToken(dataDir, role)) !== null) return;
  const file = await open(tokenPath(dataDir, role), 'w', 0o600);
  try {
    await file.chmod(0o600);
    await file.writeFile(`${createTokenText(role)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Registers the token in the file where the database doesn't know it yet. Its name may be taken: then it stays as it is. */
async function registerToken(dataDir: string, role: Role, tokens: TokenStore): Promise<void> {
  const text = await readToken(dataDir, role);
  if (text === null) return;
  const sha256 = hashToken(text);
  if ((await tokens.find(sha256)) !== undefined) return;
  try {
    await tokens.create({ name: role, role, scopes: null, expiresAt: null, sha256 }, ACTOR);
  } catch (error) {
    if (errorCodeOf(error) !== 'already_exists') throw error;
  }
}

async function readToken(dataDir: string, role: Role): Promise<string | null> {
  try {
    const text = (await readFile(tokenPath(dataDir, role), 'utf8')).trim();
    return isTokenText(text) ? text : null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw new CarnetError('config_invalid', `${tokenPath(dataDir, role)} cannot be read`, { cause: error });
  }
}

function tokenPath(dataDir: string, role: Role): string {
  return join(dataDir, `${role}.token`);
}

async function createUserEntry(trustDomain: TrustDomain, entries: EntryStore): Promise<void> {
  const { uid, name } = currentUser();
  const entry = {
    id: 'first-user',
    spiffeId: spiffeIdOf(trustDomain, `/user/${name}`),
    selectors: [parseSelector(`unix:uid:${uid}`)],
    dnsNames: [],
    ttlSeconds: null,
    hint: null,
    federatesWith: [],
  };
  try {
    await entries.create(entry, ACTOR);
  } catch (error) {
    if (errorCodeOf(error) !== 'already_exists') throw error;
  }
}

/** Not every user ID has a name, and not every name can stand in a SPIFFE ID. */
function currentUser(): { uid: number; name: string } {
  const uid = process.getuid?.() ?? 0;
  try {
    const { username } = userInfo();
    return { uid, name: /^[a-zA-Z0-9][a-zA-Z0-9._-]*$/.test(username) ? username : `uid-${uid}` };
  } catch {
    return { uid, name: `uid-${uid}` };
  }
}
