import { randomBytes, randomUUID } from 'node:crypto';
import test from 'ava';
import { listConsumers } from '../../src/db/consumers.ts';
import { freeServerNode, keepServerNode } from '../../src/db/server-nodes.ts';
import { attest, createWorld, join, payloadOf, TestAgent, type World } from '../agent/server/world.ts';

const world = await createWorld();
const replica = await world.replica();
test.after.always(() => world.close());

/** A node as a method names it. */
function found(name: string) {
  return { name, selectors: [], evidence: {}, reattestable: true };
}

/** The certificates of a node's agent, oldest first. */
async function serialsOf(node: string): Promise<string[]> {
  const rows = await world.database.query<{ serial: string }>(
    "SELECT encode(serial, 'hex') AS serial FROM issuance WHERE instance = $1 ORDER BY recorded_at, id",
    [`agent:${node}`],
  );
  return rows.map(({ serial }) => serial);
}

/** Puts a renewal on record, of the first attestation, that is otherwise like the certificate of this serial. */
async function copyIssuance(serial: string, copy: string, recordedAt: string): Promise<void> {
  await world.database.query(
    `INSERT INTO issuance (recorded_at, not_before, not_after, serial, profile, identity, dns_names, authority_id,
       public_key_sha256, certificate_sha256, certificate, node, instance, evidence, requester)
     SELECT ${recordedAt}, not_before, not_after, decode($2, 'hex'), profile, identity, dns_names, authority_id,
       public_key_sha256, certificate_sha256, certificate, node, instance, '{"attestation": 1}', requester
     FROM issuance WHERE serial = decode($1, 'hex')`,
    [serial, copy],
  );
}

function credential(serial = ''): Parameters<World['agents']['attested']>[2] {
  return { serial, expiresAt: new Date(Date.now() + 60_000) };
}

test('an attestation that comes to its end after a later one takes no place, and bans nobody', async (t) => {
  await join(world, replica, 'slow');
  const identity = await join(world, replica, 'slow');
  const [early] = await serialsOf('slow');
  await t.throwsAsync(world.agents.attested('join_token', found('slow'), credential(early)), {
    code: 'conflict',
  });
  const agent = new TestAgent(replica, identity);
  await t.notThrowsAsync(agent.begin());
  await agent.close();
});

for (const [who, method, serial] of [
  ['its own method', 'x509pop', 'serial'],
  ['an operator’s token', 'join_token', 'serial'],
  ['another method, after a ban was lifted', 'oidc', 'NULL'],
] as const)
  test(`an attestation by ${who} that is late is told so, and not that it may not`, async (t) => {
    const node = `late-${method.replace('_', '-')}`;
    for (let i = 0; i < 2; i++) await join(world, replica, node);
    await world.database.query(`UPDATE agent SET method = 'x509pop', serial = ${serial} WHERE node = $1`, [
      node,
    ]);
    const [early] = await serialsOf(node);
    await t.throwsAsync(world.agents.attested(method, found(node), credential(early)), { code: 'conflict' });
  });

test('a node is attested though the clock of the database was put back', async (t) => {
  await join(world, replica, 'clock');
  const [serial = ''] = await serialsOf('clock');
  const ahead = randomBytes(16).toString('hex');
  await copyIssuance(serial, ahead, "recorded_at + interval '1 hour'");
  await world.database.query("UPDATE agent SET attested_serial = decode($1, 'hex') WHERE node = 'clock'", [
    ahead,
  ]);
  await t.notThrowsAsync(join(world, replica, 'clock'));
});

test('a certificate of an earlier attestation that was renewed during the later one is no copy', async (t) => {
  await join(world, replica, 'surge');
  await join(world, replica, 'surge');
  const renewal = randomBytes(16).toString('hex');
  const [first = ''] = await serialsOf('surge');
  await copyIssuance(first, renewal, 'statement_timestamp()');
  await t.throwsAsync(world.agents.presented('surge', renewal), { code: 'agent_unknown' });
  t.is((await world.agents.list()).find(({ node }) => node === 'surge')?.ban, null);
});

test('a renewal from before the one before means a copy, and its agent is banned', async (t) => {
  await join(world, replica, 'renewals');
  const [first = ''] = await serialsOf('renewals');
  const serials = [first, ...Array.from({ length: 3 }, () => randomBytes(16).toString('hex'))];
  for (const [i, serial] of serials.entries()) {
    if (i > 0) await copyIssuance(first, serial, 'statement_timestamp()');
    if (i > 0) await world.agents.renewed('renewals', serials[i - 1] ?? '', credential(serial));
    await world.agents.presented('renewals', serial);
  }
  await t.throwsAsync(world.agents.presented('renewals', serials[1] ?? ''), { code: 'agent_copied' });
  await t.throwsAsync(world.agents.presented('renewals', serials[3] ?? ''), { code: 'agent_banned' });
});

test('a copy that takes the place of the agent again and again, each time as another run, is noticed', async (t) => {
  await join(world, replica, 'copied');
  const begin = (runId: Uint8Array) =>
    world.agents.sessionBegan('copied', { id: randomUUID(), runId, version: '1' });
  const original = randomBytes(16);
  await begin(original);
  for (let i = 0; i < 100; i++) await begin(randomBytes(16));
  await t.throwsAsync(begin(original), { code: 'agent_copied' });
});

test('an agent that is told of twice at once keeps no other from being told of', async (t) => {
  for (const node of ['twice', 'once']) {
    await join(world, replica, node);
    await world.agents.sessionBegan(node, { id: randomUUID(), runId: randomBytes(16), version: '1' });
  }
  const { x509Sequence = 0 } = replica.authorities.bundle();
  const seen = (node: string) => ({ node, health: null, bundleSequence: x509Sequence });
  await world.agents.seen([seen('twice'), seen('once'), seen('twice')]);
  for (const node of ['twice', 'once']) t.is((await listConsumers(world.database, node)).length, 1, node);
});

test('what is revoked is refused, also by a server that was not told yet', async (t) => {
  await join(world, replica, 'revoked');
  const [serial = ''] = await serialsOf('revoked');
  await world.revokeNode('revoked');
  await t.throwsAsync(world.agents.presented('revoked', serial), { code: 'unauthenticated' });
});

test('nodes that are gone for a month are kept in no server’s mind, unless they are banned', async (t) => {
  for (const node of ['gone', 'gone-banned', 'away']) await join(world, replica, node);
  await world.agents.ban('gone-banned', 'test', 'operator:test');
  await world.database.query(
    "UPDATE agent SET expires_at = now() - interval '32 days' WHERE node LIKE 'gone%'",
  );
  const states = (await world.agents.states()).map(({ node }) => node);
  t.deepEqual(
    ['gone', 'gone-banned', 'away'].filter((node) => states.includes(node)),
    ['gone-banned', 'away'],
  );
});

test("a server's own node is nobody else's at any server, also while it is away", async (t) => {
  const { text } = await world.token('server-2');
  await keepServerNode(world.database, 'server-2');
  await t.throwsAsync(attest(replica, { payload: payloadOf(text) }), { code: 'conflict' });
  await t.throwsAsync(world.token('server-2'), { code: 'conflict' }, 'and no token is made for it');
  await world.database.query("UPDATE lease SET expires_at = now() WHERE name LIKE '%server-2'");
  await t.notThrowsAsync(join(world, replica, 'server-2'), 'a month after it was there');
  await keepServerNode(world.database, 'server-2');
  await freeServerNode(world.database, 'server-2');
  await t.notThrowsAsync(join(world, replica, 'server-2'), 'it runs there without an agent now');
});

test('a node is taken from its method by an operator only, not by whoever answers for another', async (t) => {
  await join(world, replica, 'mine');
  const [serial] = await serialsOf('mine');
  const takeBy = (method: string) => world.agents.attested(method, found('mine'), credential(serial));
  await t.throwsAsync(takeBy('oidc'), { code: 'attestation_failed' });
  t.is((await world.agents.list()).find(({ node }) => node === 'mine')?.attestation, 1);
  await t.notThrowsAsync(takeBy('join_token'), 'an operator made it for this node');
  await world.agents.ban('mine', 'test', 'operator:test');
  await t.throwsAsync(takeBy('oidc'), { code: 'agent_banned' });
  await world.agents.unban('mine', 'operator:test');
  await t.notThrowsAsync(takeBy('oidc'), 'its agent has no certificate that counts');
  await t.throwsAsync(takeBy('x509pop'), { code: 'attestation_failed' });
});
