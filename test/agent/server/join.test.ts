import { X509Certificate } from 'node:crypto';
import test from 'ava';
import { createJoinToken, hashJoinToken } from '../../../src/agent/join-token-text.ts';
import { createAgentKey } from '../../../src/agent/link/agent-identity.ts';
import { channelOptions, serverCredentials } from '../../../src/agent/link/channel.ts';
import { NodeAttestationClient } from '../../../src/gen/carnet/agent/v1/agent.ts';
import { until } from '../../support/until.ts';
import { attest, createWorld, join, payloadOf, TestAgent } from './world.ts';

const world = await createWorld();
const replica = await world.replica();
const other = await world.replica();
test.after.always(() => world.close());

test('a node joins by its token, and its agent is known by a certificate that is on record', async (t) => {
  const { id, text } = await world.token('web-1', ['node:rack:7']);
  const { answer, identity } = await attest(replica, { payload: payloadOf(text) });
  t.is(answer.node, 'web-1');
  t.deepEqual([...identity.selectors] as string[], ['node:name:web-1', 'node:rack:7']);
  t.is(
    new X509Certificate(answer.chain[0] ?? '').subjectAltName,
    'URI:spiffe://carnet.local/carnet/agent/web-1',
  );
  const [recorded] = await world.database.query<Record<string, unknown>>(
    "SELECT profile, node, instance, requester, evidence, entry_id FROM issuance WHERE instance = 'agent:web-1'",
  );
  t.like(recorded, {
    profile: 'agent',
    node: 'web-1',
    requester: 'agent:web-1',
    entry_id: null,
    evidence: { method: 'join_token', join_token: id, created_by: 'operator:test', address: '127.0.0.1' },
  });
  const agent = (await world.agents.list()).find(({ node }) => node === 'web-1');
  t.like(agent, { method: 'join_token', attestation: 1, connected: false, ban: null });
});

test('a token without a name names the node after itself', async (t) => {
  const { id, text } = await world.token();
  t.is((await attest(replica, { payload: payloadOf(text) })).answer.node, `node-${id}`);
});

test('of two that show one token at the same time, at two servers, one joins', async (t) => {
  const { text } = await world.token();
  const results = await Promise.allSettled(
    [replica, other].map((one) => attest(one, { payload: payloadOf(text) })),
  );
  t.deepEqual(results.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  const refused = results.find(({ status }) => status === 'rejected') as PromiseRejectedResult;
  t.is(refused.reason.code, 'join_token_used');
});

test('a node that breaks off while it is attested becomes no agent', async (t) => {
  const trust = replica.trust();
  const client = new NodeAttestationClient(
    replica.address,
    serverCredentials(trust, null),
    channelOptions(trust),
  );
  t.teardown(() => client.close());
  const claim = (text: string) => {
    const call = client.attest();
    const value = { method: 'join_token', payload: payloadOf(text), csr: createAgentKey().csr };
    call.write({ step: { $case: 'claim', value } });
    const ended = new Promise((resolve) => call.on('error', resolve));
    call.resume();
    return { call, ended };
  };
  const { text } = await world.token('broke-off');
  const hash = Buffer.from(hashJoinToken(text));
  const { use } = world.joinTokens;
  world.joinTokens.use = async (sha256) => {
    const token = await use.call(world.joinTokens, sha256);
    if (!hash.equals(sha256)) return token;
    first.call.cancel();
    await first.ended;
    // On the same connection: when this has its answer, the server has heard of the end before it.
    await claim('open sesame').ended;
    await claim(createJoinToken([new Uint8Array(32)]).text).ended;
    return token;
  };
  const first = claim(text);
  await until('its certificate is on record', async () => {
    const issued = await world.database.query("SELECT FROM issuance WHERE instance = 'agent:broke-off'");
    return issued.length > 0;
  });
  // Takes longer than what is left of the one that was broken off.
  await join(world, replica);
  t.false((await world.agents.list()).some(({ node }) => node === 'broke-off'));
});

for (const [claim, code, makeText] of [
  ['is not one', 'join_token_unknown', async () => 'open sesame'],
  ['was never made here', 'join_token_unknown', async () => createJoinToken([new Uint8Array(3)]).text],
  ['has expired', 'join_token_expired', async () => (await world.token(null, [], -1)).text],
  [
    'was used already',
    'join_token_used',
    async () => {
      const { text } = await world.token();
      await attest(replica, { payload: payloadOf(text) });
      return text;
    },
  ],
  [
    'was revoked',
    'join_token_unknown',
    async () => {
      const { id, text } = await world.token();
      await world.joinTokens.revoke(id, 'operator:test');
      return text;
    },
  ],
  [
    'is for a node whose agent was banned since it was made',
    'agent_banned',
    async () => {
      const node = `banned-${Date.now()}`;
      await join(world, replica, node);
      const { text } = await world.token(node);
      await world.agents.ban(node, 'test', 'operator:test');
      return text;
    },
  ],
] as const)
  test.serial(`a token that ${claim} is refused as ${code}, on record`, async (t) => {
    const payload = payloadOf(await makeText());
    const before = (await world.events('agent.refuse')).length;
    const error = await t.throwsAsync(attest(replica, { payload }), { code });
    const [event] = await until('the refusal is on record', async () => {
      const events = await world.events('agent.refuse');
      return events.length > before && events;
    });
    t.like(event, {
      actor: 'server:link',
      reason: error?.message,
      after: { code, what: 'attest', address: '127.0.0.1', unrecorded_before: 0 },
    });
    t.notRegex(JSON.stringify([event?.after, event?.reason]), /cnj1/, 'a secret in history');
  });

for (const [claim, code, change] of [
  ['a method that the server has not', 'attestation_failed', { method: 'trust_me' }],
  ['a CSR that is none', 'csr_malformed', { csr: new Uint8Array([1, 2, 3]) }],
  ['a payload of 200 kB', 'too_large', { payload: new Uint8Array(200_000) }],
] as const)
  test(`${claim} is refused, and uses no token up`, async (t) => {
    const { text } = await world.token();
    await t.throwsAsync(attest(replica, { payload: payloadOf(text), ...change }), { code });
    await t.notThrowsAsync(attest(replica, { payload: payloadOf(text) }));
  });

test('a new attestation of a node ends what the one before it gave, on every server', async (t) => {
  const first = await join(world, replica, 'again');
  const agent = new TestAgent(other, first);
  await agent.begin();
  await join(world, replica, 'again');
  t.is(await agent.ended(), 'agent_unknown');
  const late = new TestAgent(replica, first);
  await t.throwsAsync(late.begin(), { code: 'agent_unknown' });
  t.is(
    (await world.agents.list()).find(({ node }) => node === 'again')?.ban,
    null,
    'no copy: it was attested',
  );
  await Promise.all([agent.close(), late.close()]);
});

test("the node of a server's own agent is nobody else's", async (t) => {
  const server = await world.replica({ 'node-name': 'own-1' });
  const { text } = await world.token('own-1');
  await t.throwsAsync(attest(server, { payload: payloadOf(text) }), { code: 'conflict' });
});

test('no token is made for a banned node', async (t) => {
  await join(world, replica, 'bad-1');
  await world.agents.ban('bad-1', 'test', 'operator:test');
  await t.throwsAsync(world.token('bad-1'), { code: 'conflict' });
});
