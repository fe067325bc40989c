import { type ClientHttp2Session, connect as connectHttp2 } from 'node:http2';
import { connect } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { createAgentKey } from '../../../src/agent/link/agent-identity.ts';
import { IssueService } from '../../../src/agent/server/issue-service.ts';
import type { LinkRefusals } from '../../../src/agent/server/refusals.ts';
import { parseSpiffeId } from '../../../src/identity/spiffe-id.ts';
import { until } from '../../support/until.ts';
import { attest, createWorld, join, payloadOf, TestAgent } from './world.ts';

const world = await createWorld();
const replica = await world.replica();
test.after.always(() => world.close());

/** A connection from this address of our machine. */
function stranger(t: ExecutionContext, localAddress: string): ClientHttp2Session {
  const { port } = replica;
  const socket = connect({
    ...{ port, host: '127.0.0.1', localAddress, minVersion: 'TLSv1.3' as const },
    ...{ ALPNProtocols: ['h2'], rejectUnauthorized: false },
  });
  const session = connectHttp2(`https://127.0.0.1:${port}`, { createConnection: () => socket });
  session.on('error', () => undefined);
  t.teardown(() => session.destroy());
  return session;
}

test('whoever begins attestations and says nothing keeps others out of none', async (t) => {
  const STREAMS = 300;
  let refused = 0;
  for (const session of [1, 2, 3].map(() => stranger(t, '127.0.0.2')))
    for (let i = 0; i < STREAMS / 3; i++)
      session
        .request({
          ':method': 'POST',
          ':path': '/carnet.agent.v1.NodeAttestation/Attest',
          'content-type': 'application/grpc',
          te: 'trailers',
        })
        .on('error', () => undefined)
        .on('response', () => refused++)
        .resume();
  await until('all but three quarters of the places are refused him', () => refused >= STREAMS - 192);
  const { text } = await world.token();
  await t.notThrowsAsync(attest(replica, { payload: payloadOf(text) }));
});

test('an agent that is banned while its answer is being made does not get it', async (t) => {
  const agent = new TestAgent(replica, await join(world, replica, 'banned-meanwhile'));
  t.teardown(() => agent.close());
  await agent.begin();
  const { renewed } = world.agents;
  world.agents.renewed = async (...given) => {
    await renewed.apply(world.agents, given);
    if (given[0] !== agent.identity.node) return;
    await world.agents.ban(agent.identity.node, 'test', 'operator:test');
    await agent.ended();
  };
  const { csr } = createAgentKey();
  await t.throwsAsync(agent.call(agent.client.renew, { csr }), { code: 'agent_banned' });
});

test('an entry that is deleted while a workload is looked up grants it nothing', async (t) => {
  const grant = {
    ...{ entryId: 'web', entryVersion: 1, dnsNames: [], ttlSeconds: null, hint: null, federatesWith: [] },
    spiffeId: parseSpiffeId('spiffe://carnet.local/web'),
  };
  let entries: (typeof grant)[] = [grant];
  const service = new IssueService({
    authorize: () => entries,
    confirm: async (_node, attestation) => {
      entries = [];
      return { attestation, doubt: null };
    },
    issue: () => t.fail('it was issued') as never,
    mintJwt: () => t.fail('it was minted') as never,
    refusals: { add: () => undefined } as unknown as LinkRefusals,
    clock: Date.now,
  });
  const agent = { node: 'n', serial: '01', address: '', selectors: [], evidence: {}, connection: 'peer-1' };
  const wanted = {
    ...{ csr: new Uint8Array(), entryId: 'web', spiffeId: grant.spiffeId, instance: 'container:1' },
    ...{ selectors: ['unix:uid:7'], evidence: '{}' },
  };
  const { outcomes } = await service.issue(agent, { wanted: [wanted] });
  t.like(outcomes[0]?.outcome, { $case: 'refused', value: { code: 'permission_denied' } });
});

test('what goes wrong inside is no agent’s business, and a token is for somebody', async (t) => {
  const grant = {
    ...{ entryId: 'web', entryVersion: 1, dnsNames: [], ttlSeconds: null, hint: null, federatesWith: [] },
    spiffeId: parseSpiffeId('spiffe://carnet.local/web'),
  };
  const service = new IssueService({
    authorize: () => [grant],
    confirm: null,
    issue: () => Promise.reject(new Error('postgres://carnet:secret@db')),
    mintJwt: () => t.fail('it was minted') as never,
    refusals: { add: () => undefined } as unknown as LinkRefusals,
    clock: Date.now,
  });
  const agent = { node: 'n', serial: '01', address: '', selectors: [], evidence: {}, connection: 'peer-1' };
  const asked = {
    ...{ entryId: 'web', spiffeId: grant.spiffeId, instance: 'container:1' },
    ...{ selectors: ['unix:uid:7'], evidence: '{}' },
  };
  const { outcomes } = await service.issue(agent, { wanted: [{ ...asked, csr: new Uint8Array() }] });
  t.deepEqual(outcomes[0]?.outcome, {
    $case: 'refused',
    value: { code: 'internal', message: 'internal error' },
  });
  const { outcome } = await service.issueJwt(agent, { ...asked, audience: [] });
  t.like(outcome, { $case: 'refused', value: { code: 'invalid_argument' } });
});

test('an agent that opens connections without end keeps no other out, and costs the database nothing', async (t) => {
  const identity = await join(world, replica, 'greedy');
  const agents = Array.from({ length: 17 }, () => new TestAgent(replica, identity));
  t.teardown(() => Promise.all(agents.map((agent) => agent.close())));
  const { presented } = world.agents;
  let asked = 0;
  world.agents.presented = (node, serial) => {
    if (node === 'greedy') asked++;
    return presented.call(world.agents, node, serial);
  };
  const calls = await Promise.allSettled(
    agents.map((agent) => agent.call(agent.client.loadFleet, { socket: '/s' })),
  );
  const messages = calls.map((call) => (call.status === 'rejected' ? call.reason.message : 'answered'));
  t.is(messages.filter((message) => /no session/.test(message)).length, 16, messages.join('\n'));
  t.is(asked, 0);
  const other = new TestAgent(replica, await join(world, replica));
  t.teardown(() => other.close());
  await t.notThrowsAsync(other.begin());
});
