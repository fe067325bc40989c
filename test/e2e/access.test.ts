import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import test from 'ava';
import { ROLES, type Role } from '../../src/api/role.ts';
import { openDatabase } from '../db/fixtures.ts';
import { type CarnetProcess, startCarnet } from '../support/carnet.ts';
import { createDatabase } from '../support/database.ts';

const PAGE = new URL('../../docs/ACCESS.md', import.meta.url);
const METHODS = ['get', 'post', 'delete', 'put', 'patch'];
/** What a path's parameters become: well-formed, and nothing that is there. */
const PLACEHOLDERS: Readonly<Record<string, string>> = {
  serial: '00',
  kind: 'root',
  trust_domain: 'nobody.test',
  level: '0',
  tile: '000',
};

/** One line of the table in docs/ACCESS.md. */
interface Row {
  readonly operation: string;
  readonly method: string;
  readonly path: string;
  /** Null: nobody can be limited. */
  readonly scope: string | null;
  readonly isPublic: boolean;
  readonly roles: ReadonlySet<Role>;
}

type Verdict = 'admitted' | 'unauthenticated' | 'permission_denied';

/** Somebody who calls: each from an address of its own, so that none uses up another's rate. */
interface Caller {
  readonly title: string;
  readonly headers: () => Record<string, string> | Promise<Record<string, string>>;
  readonly expected: (row: Row) => Verdict;
}

const database = await createDatabase();
const carnet = await startCarnet(['--no-agent', '--database-url', database.url]);
const rows = readTable();
const document = (await (await fetch(`${carnet.url}/v1/openapi.json`)).json()) as OpenApi;
test.after.always(async () => {
  await carnet[Symbol.asyncDispose]();
  await database.drop();
});

interface OpenApi {
  // biome-ignore lint/suspicious/noExplicitAny: a JSON document
  readonly paths: Readonly<Record<string, Readonly<Record<string, any>>>>;
}

test('docs/ACCESS.md has a row for every operation there is, and no other', (t) => {
  const documented = Object.entries(document.paths).flatMap(([path, operations]) =>
    METHODS.flatMap((method) => (method in operations ? [`${method.toUpperCase()} ${path}`] : [])),
  );
  const listed = rows.map(({ operation }) => operation);
  const [missing, gone] = [difference(documented, listed), difference(listed, documented)];
  t.deepEqual(missing, [], 'these have no row in docs/ACCESS.md: who may call them?');
  t.deepEqual(gone, [], 'these have a row in docs/ACCESS.md and are not there');
  t.is(new Set(listed).size, listed.length, 'a row is there twice');
});

test('what the OpenAPI document says of roles and scopes is what the table says', (t) => {
  for (const { operation, method, path, scope, isPublic, roles } of rows) {
    const said = document.paths[path]?.[method.toLowerCase()];
    t.is(said['x-carnet-scope'] ?? null, scope, operation);
    const expected = isPublic ? [] : [{ token: inOrder(roles) }, { session: inOrder(roles) }];
    t.deepEqual(said.security, expected, operation);
  }
});

test('every operation admits whom its row says, and nobody else, by token, session and scope', async (t) => {
  const callers = await everybody(carnet);
  let cells = 0;
  for (const [i, caller] of callers.entries())
    for (const row of rows) {
      const answer = await send(carnet.url, row, await caller.headers(), `127.0.1.${i + 1}`);
      t.is(answer.verdict, caller.expected(row), `${row.operation} by ${caller.title}: ${answer.text}`);
      cells++;
    }
  t.log(`${rows.length} operations, ${callers.length} kinds of callers: ${cells} calls`);
});

/** Is for everybody, but of its own accord: another site's page would choose the role. */
const SIGN_IN = 'GET /v1/session/oidc';

async function everybody(server: CarnetProcess): Promise<Caller[]> {
  const scopes = [...new Set(rows.flatMap(({ scope }) => scope ?? []))].sort();
  const strangers = await unusable(server);
  const known = await Promise.all(ROLES.map((role) => usable(server, role)));
  const limited = await Promise.all(scopes.map((scope) => limitedTo(server, scope)));
  return [...strangers, ...known.flat(), ...limited];
}

/** Who is nobody: whatever it shows, it may what is for everybody. */
async function unusable(server: CarnetProcess): Promise<Caller[]> {
  const expected = ({ isPublic }: Row): Verdict => (isPublic ? 'admitted' : 'unauthenticated');
  const [revoked, expired] = [await createToken(server, 'admin'), await createToken(server, 'admin')];
  const revokedSession = await signIn(server, revoked.token);
  const ended = await signIn(server, (await createToken(server, 'admin')).token);
  await fetch(`${server.url}/v1/session`, { method: 'DELETE', headers: pageOf(server, ended) });
  await server.call('DELETE', `/v1/tokens/${revoked.id}`);
  const tokens = openDatabase(database.url);
  await tokens.query(`UPDATE token SET expires_at = now() - interval '1 s' WHERE id = $1`, [expired.id]);
  await tokens.close();
  const shown: [string, Record<string, string>][] = [
    ['nobody', {}],
    ['a malformed token', { authorization: 'Bearer hunter2' }],
    ['an unknown token', { authorization: `Bearer carnet_admin_${'A'.repeat(43)}` }],
    ['a revoked token', { authorization: `Bearer ${revoked.token}` }],
    ['an expired token', { authorization: `Bearer ${expired.token}` }],
    ['a session of a revoked token', pageOf(server, revokedSession)],
    ['a session that was ended', pageOf(server, ended)],
    ['an unknown session', pageOf(server, { ...ended, cookie: `carnet-session=${'A'.repeat(43)}` })],
  ];
  return shown.map(([title, headers]) => ({ title, headers: () => headers, expected }));
}

/** A role by its token, by a session as a page of ours uses it, and by the same as others might. */
async function usable(server: CarnetProcess, role: Role): Promise<Caller[]> {
  const [{ token }, other] = [await createToken(server, role), await createToken(server, role)];
  const byRole = ({ isPublic, roles }: Row): Verdict =>
    isPublic || roles.has(role) ? 'admitted' : 'permission_denied';
  const refused = ({ isPublic }: Row): Verdict => (isPublic ? 'admitted' : 'permission_denied');
  const session = await signIn(server, other.token);
  const { 'carnet-csrf': _, ...withoutCsrf } = pageOf(server, session);
  const foreign = { ...pageOf(server, session), origin: 'https://evil.example' };
  // One of the calls ends its session, so each has a new one; the oldest of an actor's many give way.
  const fresh = async () => pageOf(server, await signIn(server, token));
  return [
    { title: `${role}, token`, headers: () => ({ authorization: `Bearer ${token}` }), expected: byRole },
    { title: `${role}, session`, headers: fresh, expected: byRole },
    {
      title: `${role}, session without CSRF token`,
      headers: () => withoutCsrf,
      expected: (row) => (row.method === 'GET' ? byRole(row) : refused(row)),
    },
    {
      title: `${role}, session on another site's page`,
      headers: () => foreign,
      expected: (row) => (row.operation === SIGN_IN ? 'permission_denied' : refused(row)),
    },
  ];
}

/** An admin with one scope: nothing of the rest. */
async function limitedTo(server: CarnetProcess, scope: string): Promise<Caller> {
  const { token } = await createToken(server, 'admin', [scope]);
  return {
    title: `admin limited to ${scope}`,
    headers: () => ({ authorization: `Bearer ${token}` }),
    expected: (row) =>
      row.isPublic || row.scope === null || row.scope === scope ? 'admitted' : 'permission_denied',
  };
}

let made = 0;

async function createToken(server: CarnetProcess, role: Role, scopes?: readonly string[]) {
  made++;
  const body = { name: `t${made}`, role, ttl: '1h', ...(scopes === undefined ? {} : { scopes }) };
  return (await server.call('POST', '/v1/tokens', body)) as { id: string; token: string };
}

interface Session {
  readonly cookie: string;
  readonly csrf: string;
}

let signedIn = 0;

async function signIn({ url }: CarnetProcess, token: string): Promise<Session> {
  signedIn++;
  const from = `127.0.2.${(signedIn % 250) + 1}`;
  const headers = { authorization: `Bearer ${token}` };
  const answer = await send(url, { method: 'POST', path: '/v1/session' }, headers, from);
  return { cookie: answer.cookie, csrf: JSON.parse(answer.text).csrf };
}

function pageOf({ url }: CarnetProcess, { cookie, csrf }: Session): Record<string, string> {
  return { cookie, origin: url, 'sec-fetch-site': 'same-origin', 'carnet-csrf': csrf };
}

/** Sends what lets everybody past who may, and then is refused for what it says: `{}`, or something that isn't there. */
function send(
  url: string,
  { method, path }: Pick<Row, 'method' | 'path'>,
  headers: Record<string, string>,
  localAddress: string,
): Promise<{ verdict: Verdict; text: string; cookie: string }> {
  const target = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => PLACEHOLDERS[name] ?? 'none');
  const body = method === 'POST' ? '{}' : '';
  const type = body === '' ? {} : { 'content-type': 'application/json' };
  return new Promise((resolve, reject) => {
    request(url + target, { method, localAddress, headers: { ...headers, ...type } }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('error', reject);
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('end', () => {
        const [cookie = ''] = response.headers['set-cookie']?.[0]?.split(';', 1) ?? [];
        resolve({ verdict: verdictOf(response.statusCode ?? 0, text), text: text.slice(0, 300), cookie });
      });
    })
      .on('error', reject)
      .end(body);
  });
}

function verdictOf(status: number, text: string): Verdict {
  if (status === 401 || status === 403) return JSON.parse(text).code;
  if (status === 429 || status >= 500) throw new Error(`an answer of no use: ${status} ${text}`);
  return 'admitted';
}

function readTable(): Row[] {
  const lines = readFileSync(PAGE, 'utf8').split('\n');
  const head = lines.findIndex((line) => line.startsWith('| operation |'));
  const columns = cellsOf(lines[head] ?? '');
  const found: Row[] = [];
  for (const line of lines.slice(head + 2)) {
    if (!line.startsWith('|')) break;
    const cells = new Map(cellsOf(line).map((cell, i) => [columns[i], cell]));
    const operation = (cells.get('operation') ?? '').replaceAll('`', '');
    const [method = '', path = ''] = operation.split(' ');
    const scope = (cells.get('scope') ?? '').replaceAll('`', '');
    const roles = ROLES.filter((role) => cells.get(role) === 'yes');
    const isPublic = cells.get('anyone') === 'yes';
    found.push({
      operation,
      method,
      path,
      scope: scope === '' ? null : scope,
      isPublic,
      roles: new Set(roles),
    });
  }
  return found;
}

function cellsOf(line: string): string[] {
  return line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim());
}

function difference(all: readonly string[], others: readonly string[]): string[] {
  return all.filter((one) => !others.includes(one));
}

function inOrder(roles: ReadonlySet<Role>): Role[] {
  return ROLES.filter((role) => roles.has(role));
}
