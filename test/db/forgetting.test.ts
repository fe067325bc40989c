import { randomBytes, randomUUID } from 'node:crypto';
import test from 'ava';
import { PostgresAgentStore, pruneAgents } from '../../src/db/agents.ts';
import { PostgresJoinTokenStore, pruneJoinTokens } from '../../src/db/join-tokens.ts';
import { migrate } from '../../src/db/migrate.ts';
import { administer, createDatabase, urlOf } from '../support/database.ts';
import { log, openDatabase } from './fixtures.ts';

const ACTOR = 'operator:test';
/** As a running server's, which doesn't own the tables. */
const created = await createDatabase('empty');
const role = `runtime_${randomBytes(6).toString('hex')}`;
await administer(`CREATE ROLE ${role} LOGIN`);
const url = urlOf(new URL(created.url).pathname.slice(1), role);
await migrate({ url, ownerUrl: created.url, log });
const [database, other] = [openDatabase(url), openDatabase(url)];
const agents = new PostgresAgentStore(database);
const joinTokens = new PostgresJoinTokenStore(database);
test.beforeEach(() =>
  database.query('DELETE FROM agent').then(() => database.query('DELETE FROM join_token')),
);
test.after.always(async () => {
  await database.close();
  await other.close();
  await created.drop();
  await administer(`DROP ROLE ${role}`);
});

async function token(id: string): Promise<Buffer> {
  const sha256 = randomBytes(32);
  const expiresAt = new Date(Date.now() + 3_600_000);
  await joinTokens.create({ id, sha256, node: null, selectors: [], expiresAt }, ACTOR);
  return sha256;
}

async function tokensLeft(): Promise<string[]> {
  return (await joinTokens.list()).map(({ id }) => id).sort();
}

async function attested(node: string, method = 'x509pop'): Promise<void> {
  const credential = { serial: randomBytes(16).toString('hex'), expiresAt: new Date(Date.now() + 3_600_000) };
  await agents.attested(method, { name: node, selectors: [], evidence: {}, reattestable: true }, credential);
}

/** Lets all that is on record of these agents have been so much longer ago. */
async function age(nodes: readonly string[], days: number): Promise<void> {
  await database.query(
    `UPDATE agent SET expires_at = expires_at - make_interval(days => $2),
       attested_at = attested_at - make_interval(days => $2), last_seen_at = last_seen_at - make_interval(days => $2)
     WHERE node = ANY ($1)`,
    [nodes, days],
  );
}

async function agentsLeft(): Promise<string[]> {
  return (await agents.list()).map(({ node }) => node);
}

test.serial('a join token is forgotten a week after it was used, taken back or expired', async (t) => {
  for (const days of [6, 8]) {
    const ago = `statement_timestamp() - interval '${days} days'`;
    for (const column of ['used_at', 'revoked_at', 'expires_at']) {
      await token(`${column}-${days}`);
      await database.query(`UPDATE join_token SET ${column} = ${ago} WHERE id = $1`, [`${column}-${days}`]);
    }
  }
  await token('usable');
  await database.query("UPDATE join_token SET created_at = created_at - interval '1 year'");
  await pruneJoinTokens(database);
  t.deepEqual(await tokensLeft(), ['expires_at-6', 'revoked_at-6', 'usable', 'used_at-6']);
});

test.serial('a join token that is forgotten lets nobody in, and its making stays on record', async (t) => {
  const sha256 = await token('forgotten');
  await joinTokens.use(sha256);
  await t.throwsAsync(joinTokens.use(sha256), { code: 'join_token_used' });
  await database.query("UPDATE join_token SET used_at = used_at - interval '8 days'");
  await pruneJoinTokens(database);
  await t.throwsAsync(joinTokens.use(sha256), { code: 'join_token_unknown' });
  const events = await database.query("SELECT FROM operator_event WHERE subject = 'forgotten'");
  t.is(events.length, 1);
});

test.serial('so many are forgotten at once, those first that ended first', async (t) => {
  for (let i = 1; i <= 5; i++) {
    await token(`t${i}`);
    await attested(`n${i}`);
    await age([`n${i}`], 40 + i);
    await database.query(
      'UPDATE join_token SET expires_at = expires_at - make_interval(days => $2) WHERE id = $1',
      [`t${i}`, 10 + i],
    );
  }
  await pruneJoinTokens(database, 2);
  await pruneAgents(database, 2);
  t.deepEqual(await tokensLeft(), ['t1', 't2', 't3']);
  t.deepEqual(await agentsLeft(), ['n1', 'n2', 'n3']);
  await Promise.all([
    pruneAgents(database),
    pruneAgents(other),
    pruneJoinTokens(database),
    pruneJoinTokens(other),
  ]);
  t.deepEqual([...(await tokensLeft()), ...(await agentsLeft())], []);
});

test.serial('an agent is forgotten when it was gone for 32 days, but for one that is banned', async (t) => {
  const gone = ['away', 'banned', 'connected', 'gone', 'renewed'];
  for (const node of gone) await attested(node);
  await attested('here');
  await agents.ban('banned', 'stolen', ACTOR);
  await age(gone, 33);
  await age(['away'], -2);
  await database.query("UPDATE agent SET expires_at = statement_timestamp() WHERE node = 'renewed'");
  await agents.sessionBegan('connected', { id: randomUUID(), runId: randomBytes(16), version: '1' });
  await pruneAgents(database);
  t.deepEqual(await agentsLeft(), ['away', 'banned', 'connected', 'here', 'renewed']);
  await t.throwsAsync(attested('banned'), { code: 'agent_banned' });
});

test.serial(
  'an agent that is forgotten is like one that never was: whatever method attests it',
  async (t) => {
    await attested('node');
    const [before] = await agents.list();
    await t.throwsAsync(attested('node', 'oidc'), { code: 'attestation_failed' });
    await age(['node'], 33);
    await pruneAgents(database);
    await t.throwsAsync(agents.presented('node', before?.serial ?? ''), { code: 'agent_unknown' });
    await t.notThrowsAsync(attested('node', 'oidc'));
    t.is((await agents.list())[0]?.attestation, 1);
  },
);

test.serial('an agent that is attested at this moment stays', async (t) => {
  await attested('node');
  await age(['node'], 33);
  await other.transact(async (tx) => {
    await tx.query("SELECT FROM agent WHERE node = 'node' FOR UPDATE");
    await pruneAgents(database);
  });
  t.deepEqual(await agentsLeft(), ['node']);
});
