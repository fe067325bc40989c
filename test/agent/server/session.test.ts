import { randomBytes } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import {
  type AgentIdentity,
  acceptCertificate,
  createAgentKey,
} from '../../../src/agent/link/agent-identity.ts';
import { listConsumers } from '../../../src/db/consumers.ts';
import type { AgentCertificate, RenewRequest } from '../../../src/gen/carnet/agent/v1/agent.ts';
import { until } from '../../support/until.ts';
import { createWorld, join, TestAgent, TRUST_DOMAIN } from './world.ts';

const world = await createWorld();
const replica = await world.replica();
const other = await world.replica();
test.after.always(() => world.close());

function agentOf(t: ExecutionContext, identity: AgentIdentity, at = replica): TestAgent {
  const agent = new TestAgent(at, identity);
  t.teardown(() => agent.close());
  return agent;
}

/** The agent's next certificate, and what its first one was renewed by. */
async function renewed(agent: TestAgent): Promise<AgentIdentity> {
  const key = createAgentKey();
  const answer = await agent.call<RenewRequest, AgentCertificate>(agent.client.renew, { csr: key.csr });
  return acceptCertificate(answer, key, {
    trustDomain: TRUST_DOMAIN,
    roots: replica.trust().roots,
    now: Date.now(),
  });
}

async function banOf(node: string) {
  return (await world.agents.list()).find((agent) => agent.node === node)?.ban ?? null;
}

test.serial('a session begins with all that the node needs, and goes on with what changes', async (t) => {
  const agent = agentOf(t, await join(world, replica, 'all-1', ['node:rack:7']));
  const first = await agent.begin();
  t.is(first.bundle?.trustDomain, 'carnet.local');
  t.is(first.bundle?.x509Authorities.length, 1);
  t.is(first.bundle?.jwtAuthorities.length, 1);
  t.deepEqual(first.denials, { denials: [] });
  t.deepEqual(first.superseded, { wave: [], urgent: [] });
  t.deepEqual(first.federated, { bundles: [] });

  await world.grant({ id: 'everywhere', spiffe_id: '/e', selectors: ['unix:uid:7'], ttl: '90s' });
  const second = await agent.next();
  t.like(second.entries?.entries.at(-1), { id: 'everywhere', version: 1, ttlSeconds: 90, hint: '' });
  t.deepEqual([second.bundle, second.denials, second.superseded, second.federated], Array(4).fill(undefined));

  await world.revokeNode('somebody-else');
  const third = await agent.next();
  t.is(third.denials, undefined, "another node's denial");
  t.true((third.bundle?.sequence ?? 0) > (first.bundle?.sequence ?? 0));
});

test.serial('entries that ask for what a node has not are not sent to it', async (t) => {
  await world.grant({ id: 'rack-7', spiffe_id: '/r7', selectors: ['unix:uid:8', 'node:rack:7'] });
  await world.grant({ id: 'only-x', spiffe_id: '/x', selectors: ['unix:uid:8', 'node:name:x'] });
  const idsOf = async (node: string, selectors: string[]): Promise<string[]> => {
    const { entries } = await agentOf(t, await join(world, replica, node, selectors)).begin();
    return (entries?.entries ?? []).map(({ id }) => id).filter((id) => ['rack-7', 'only-x'].includes(id));
  };
  await until(
    'the replica has read the entries',
    async () => (await idsOf('x', ['node:rack:7'])).length === 2,
  );
  t.deepEqual(await idsOf('r', ['node:rack:7']), ['rack-7']);
  t.deepEqual(await idsOf('none', []), []);
});

test('a newer session takes the place of the older, at another server too', async (t) => {
  const identity = await join(world, replica);
  const [first, second, third] = [agentOf(t, identity), agentOf(t, identity), agentOf(t, identity, other)];
  await first.begin();
  await second.begin();
  t.is(await first.ended(), 'unavailable');
  await third.begin();
  t.is(await second.ended(), 'unavailable');
  t.is(await banOf(identity.node), null, 'one run of one agent');
});

test('an agent that is started again, with a new run ID, is no copy', async (t) => {
  const identity = await join(world, replica);
  await agentOf(t, identity).begin({ runId: randomBytes(16) });
  await t.notThrowsAsync(agentOf(t, identity).begin({ runId: randomBytes(16) }));
  t.is(await banOf(identity.node), null);
});

test('a copied agent is noticed when the first run comes back: both are banned, everywhere, on record', async (t) => {
  const identity = await join(world, replica);
  const [runA, runB] = [randomBytes(16), randomBytes(16)];
  await agentOf(t, identity).begin({ runId: runA });
  const thief = agentOf(t, identity, other);
  await thief.begin({ runId: runB });
  await t.throwsAsync(agentOf(t, identity).begin({ runId: runA }), { code: 'agent_copied' });
  t.is(await thief.ended(), 'agent_banned');
  await t.throwsAsync(agentOf(t, identity).begin({ runId: runA }), { code: 'agent_banned' });
  t.like(await banOf(identity.node), { by: 'server:link' });
  const [event] = (await world.events('agent.ban')).filter(({ subject }) => subject === identity.node);
  t.regex(event?.reason ?? '', /^copied: run/);
  t.regex(await replica.metrics.scrape(), /carnet_agent_refusals_total\{code="agent_copied"\} [1-9]/);
});

test('a certificate that is shown long after its successor means a copy', async (t) => {
  const identity = await join(world, replica);
  const agent = agentOf(t, identity);
  await agent.begin();
  const next = await renewed(agent);
  await t.notThrowsAsync(
    agentOf(t, identity).begin(),
    'the successor was not shown yet: its answer may be lost',
  );
  await agentOf(t, next).begin();
  await t.throwsAsync(agentOf(t, identity).begin(), { code: 'agent_unknown' }, 'a race, a moment after');
  t.is(await banOf(identity.node), null);
  await world.database.query("UPDATE agent SET seen_at = seen_at - interval '1 minute' WHERE node = $1", [
    identity.node,
  ]);
  await t.throwsAsync(agentOf(t, identity).begin(), { code: 'agent_copied' });
  await t.throwsAsync(agentOf(t, next).begin(), { code: 'agent_banned' });
});

test('a certificate from before the one before means a copy too', async (t) => {
  const identity = await join(world, replica);
  const first = agentOf(t, identity);
  await first.begin();
  const second = agentOf(t, await renewed(first));
  await second.begin();
  const third = agentOf(t, await renewed(second));
  await third.begin();
  await t.throwsAsync(agentOf(t, identity).begin(), { code: 'agent_copied' });
});

test('a renewed certificate is on record as what it renews', async (t) => {
  const identity = await join(world, replica);
  const agent = agentOf(t, identity);
  await agent.begin();
  await renewed(agent);
  const rows = await world.database.query<{
    serial: string;
    evidence: { renews?: string; join_token?: string };
  }>(
    "SELECT encode(serial, 'hex') AS serial, evidence FROM issuance WHERE instance = $1 ORDER BY recorded_at",
    [`agent:${identity.node}`],
  );
  t.is(rows.length, 2);
  t.is(rows[1]?.evidence.renews, rows[0]?.serial);
  t.is(rows[1]?.evidence.join_token, rows[0]?.evidence.join_token);
});

test('an agent that is banned at one server is cut off at another, and let in again only when attested', async (t) => {
  const identity = await join(world, replica);
  const agent = agentOf(t, identity, other);
  await agent.begin();
  await world.agents.ban(identity.node, 'stolen', 'operator:test');
  t.is(await agent.ended(), 'agent_banned');
  await t.throwsAsync(agent.call(agent.client.issue, { wanted: [] }), { code: 'agent_banned' });
  await world.agents.unban(identity.node, 'operator:test');
  const code = await until('the ban is known to be lifted', () =>
    agentOf(t, identity)
      .begin()
      .then(
        () => 'begun',
        (error) => error.code !== 'agent_banned' && String(error.code),
      ),
  );
  t.is(code, 'agent_unknown');
  const again = await join(world, replica, identity.node);
  await t.notThrowsAsync(agentOf(t, again).begin());
  const events = await world.events('agent.unban');
  t.true(events.some(({ subject, actor }) => subject === identity.node && actor === 'operator:test'));
});

test('an agent whose node is revoked is refused, and so is its node', async (t) => {
  const identity = await join(world, replica);
  const agent = agentOf(t, identity);
  await agent.begin();
  await world.revokeNode(identity.node);
  t.is(await agent.ended(), 'unauthenticated');
  await t.throwsAsync(agentOf(t, identity, other).begin(), { code: 'unauthenticated' });
  await t.throwsAsync(join(world, replica, identity.node), { code: 'permission_denied' });
});

for (const [claim, hello] of [
  ['a run ID of 15 bytes', { runId: randomBytes(15) }],
  ['a version of 65 characters', { version: 'x'.repeat(65) }],
  ['a version that clears the screen', { version: '\u001b[2J' }],
  ['a negative end', { soonestEndMs: -1 }],
] as const)
  test(`a hello with ${claim} is refused: invalid_argument`, async (t) => {
    const agent = agentOf(t, await join(world, replica));
    await t.throwsAsync(agent.begin(hello), { code: 'invalid_argument' });
  });

test('what an agent says of itself is shown to operators, and what makes no sense ends its session', async (t) => {
  const agent = agentOf(t, await join(world, replica));
  await agent.begin({ version: '9.9' });
  const listed = await until('the session is on record', async () =>
    (await world.agents.list()).find(({ node, connected }) => node === agent.identity.node && connected),
  );
  t.is(listed.version, '9.9');
  const health = { instances: 1, certificates: 2, failing: 0 };
  agent.send({ $case: 'health', value: { ...health, soonestEndMs: 9e15 } });
  t.is(await agent.ended(), 'invalid_argument');
  await until('the session is off record', async () =>
    (await world.agents.list()).some(({ node, connected }) => node === agent.identity.node && !connected),
  );
});

test('an agent that begins sessions without end is told when to come back', async (t) => {
  const identity = await join(world, replica);
  const codes = new Set<string>();
  while (!codes.has('rate_limited')) {
    const agents = Array.from({ length: 12 }, () => agentOf(t, identity));
    for (const one of await Promise.allSettled(agents.map((agent) => agent.begin())))
      codes.add(one.status === 'rejected' ? one.reason.code : 'begun');
    for (const agent of agents) await agent.close();
  }
  t.true(codes.has('begun'));
  t.is(await banOf(identity.node), null);
});

test('an agent counts in rotations by the bundle that it was sent, away too, until it is banned', async (t) => {
  const agent = agentOf(t, await join(world, replica));
  const { bundle } = await agent.begin();
  const { node } = agent.identity;
  const consumer = await until('it is counted', async () => (await listConsumers(world.database, node))[0]);
  t.like(consumer, { instance: `agent:${node}`, acknowledges: false, authorities: [] });
  t.true((consumer.bundleSent ?? 0) >= (bundle?.x509Sequence ?? Number.POSITIVE_INFINITY));
  const known = (await world.agents.list()).find((one) => one.node === node);
  t.is(consumer.holdsUntil, known?.expiresAt.getTime() ?? 0);
  await agent.close();
  t.is((await listConsumers(world.database, node)).length, 1);
  await world.agents.ban(node, 'test', 'operator:test');
  t.is((await listConsumers(world.database, node)).length, 0);
});
