import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import type {
  IssueJwtRequest,
  IssueJwtResponse,
  IssueRequest,
  IssueResponse,
  Wanted,
} from '../../../src/gen/carnet/agent/v1/agent.ts';
import { buildCsr } from '../../../src/x509/build-csr.ts';
import { until } from '../../support/until.ts';
import { createWorld, join, TestAgent } from './world.ts';

const world = await createWorld();
await world.grant({ id: 'web', spiffe_id: '/web', selectors: ['unix:uid:7'], dns_names: ['web.internal'] });
await world.grant({ id: 'a-only', spiffe_id: '/a', selectors: ['unix:uid:7', 'node:name:node-a'] });
await world.grant({ id: 'per-node', spiffe_id: '/on/{node:rack}', selectors: ['unix:uid:9'] });
const replica = await world.replica();
const [a, b] = [await join(world, replica, 'node-a', ['node:rack:r1']), await join(world, replica, 'node-b')];
test.after.always(() => world.close());

const SELECTORS = ['unix:uid:7', 'unix:gid:7'];

/** An agent with its session. */
async function agentOf(t: ExecutionContext, identity = a): Promise<TestAgent> {
  const agent = new TestAgent(replica, identity);
  t.teardown(() => agent.close());
  await agent.begin();
  return agent;
}

function wanted(change: Partial<Wanted> = {}): Wanted {
  return {
    csr: buildCsr(generateKeyPairSync('ec', { namedCurve: 'P-256' })),
    entryId: 'web',
    spiffeId: 'spiffe://carnet.local/web',
    instance: 'container:0123',
    selectors: SELECTORS,
    evidence: '{"uid":7}',
    ...change,
  };
}

function issue(agent: TestAgent, list: Wanted[]): Promise<IssueResponse> {
  return agent.call<IssueRequest, IssueResponse>(agent.client.issue, { wanted: list });
}

/** The code of the one refusal; null where it was issued. */
async function refusalOf(agent: TestAgent, one: Wanted): Promise<string | null> {
  const [outcome] = (await issue(agent, [one])).outcomes;
  return outcome?.outcome?.$case === 'refused' ? outcome.outcome.value.code : null;
}

test.serial(
  'what an entry grants is issued to its workload, in order, on record with who vouched',
  async (t) => {
    const agent = await agentOf(t);
    const a_ = { entryId: 'a-only', spiffeId: 'spiffe://carnet.local/a' };
    const { outcomes } = await issue(agent, [wanted(), wanted({ entryId: 'none' }), wanted(a_)]);
    t.deepEqual(
      outcomes.map(({ outcome }) => outcome?.$case),
      ['issued', 'refused', 'issued'],
    );
    const [first] = outcomes;
    if (first?.outcome?.$case !== 'issued') return t.fail();
    const { chain, serial, entryVersion } = first.outcome.value;
    t.is(entryVersion, 1);
    t.is(
      new X509Certificate(chain[0] ?? '').subjectAltName,
      'URI:spiffe://carnet.local/web, DNS:web.internal',
    );
    const [row] = await world.database.query<Record<string, unknown>>(
      "SELECT profile, node, instance, requester, entry_id, evidence FROM issuance WHERE encode(serial, 'hex') = $1",
      [serial],
    );
    t.deepEqual(row, {
      profile: 'x509-svid',
      node: 'node-a',
      instance: 'container:0123',
      requester: 'agent:node-a',
      entry_id: 'web',
      evidence: {
        uid: 7,
        agent_serial: new X509Certificate(a.chain[0] ?? '').serialNumber.toLowerCase().padStart(32, '0'),
        selectors: ['node:name:node-a', 'node:rack:r1', 'unix:gid:7', 'unix:uid:7'],
      },
    });
  },
);

test.serial("another node's workload is refused to an agent whatever it says, on record", async (t) => {
  const agent = await agentOf(t, b);
  const stolen = wanted({
    entryId: 'a-only',
    spiffeId: 'spiffe://carnet.local/a',
    selectors: [...SELECTORS, 'node:name:node-a'],
  });
  t.is(await refusalOf(agent, stolen), 'permission_denied');
  const event = await until('the refusal is on record', async () =>
    (await world.events('agent.refuse')).find(({ subject }) => subject === 'node-b'),
  );
  t.like(event, { after: { code: 'permission_denied', what: 'Issue' } });
  t.regex(event.reason, /a-only.*node-b/);
});

test.serial('placeholders are filled by what we know of the node, not by what its agent says', async (t) => {
  const agent = await agentOf(t);
  const per = { entryId: 'per-node', selectors: ['unix:uid:9', 'node:rack:r2'] };
  t.is(await refusalOf(agent, wanted({ ...per, spiffeId: 'spiffe://carnet.local/on/r1' })), null);
  t.is(
    await refusalOf(agent, wanted({ ...per, spiffeId: 'spiffe://carnet.local/on/r2' })),
    'permission_denied',
  );
});

for (const [claim, code, change] of [
  [
    'an identity that its entry does not grant',
    'permission_denied',
    { spiffeId: 'spiffe://carnet.local/root' },
  ],
  ['an identity of Carnet itself', 'permission_denied', { spiffeId: 'spiffe://carnet.local/carnet/server' }],
  ['a workload that lacks a selector', 'permission_denied', { selectors: ['unix:gid:7'] }],
  ['a CSR that is none', 'csr_malformed', { csr: new Uint8Array([1]) }],
  ['a CSR of 17 KiB', 'csr_malformed', { csr: new Uint8Array(17 * 1024) }],
  ['an instance without a kind', 'invalid_argument', { instance: 'x' }],
  ['an empty instance', 'invalid_argument', { instance: '' }],
  ['the instance of another agent', 'invalid_argument', { instance: 'agent:node-b' }],
  ['the instance of a server', 'invalid_argument', { instance: 'server:x' }],
  ['an instance of 257 characters', 'invalid_argument', { instance: `container:${'x'.repeat(247)}` }],
  ['an instance with a line break', 'invalid_argument', { instance: 'container:1\n2' }],
  ['257 selectors', 'too_large', { selectors: Array.from({ length: 257 }, (_, i) => `unix:gid:${i}`) }],
  ['a selector that is none', 'selector_invalid', { selectors: ['uid'] }],
  ['evidence that is no JSON', 'invalid_argument', { evidence: '{' }],
  ['evidence that is a list', 'invalid_argument', { evidence: '[]' }],
  ['evidence of 9 KiB', 'too_large', { evidence: JSON.stringify({ x: 'x'.repeat(9 * 1024) }) }],
] as const)
  test(`${claim} is refused as ${code}, and the rest of the batch is not`, async (t) => {
    const agent = await agentOf(t, await join(world, replica));
    const one = wanted(change as Partial<Wanted>);
    const { outcomes } = await issue(agent, [one, wanted()]);
    t.is(outcomes[1]?.outcome?.$case, 'issued');
    t.like(outcomes[0]?.outcome, { $case: 'refused', value: { code } });
  });

test('more than 256 at once, and a message of more than 8 MiB, are refused whole', async (t) => {
  const agent = await agentOf(t, await join(world, replica));
  const one = wanted();
  await t.throwsAsync(issue(agent, Array(257).fill(one)), { code: 'too_large' });
  await t.throwsAsync(issue(agent, [wanted({ csr: new Uint8Array(9 * 1024 * 1024) })]), {
    code: 'too_large',
  });
  t.is(await refusalOf(agent, one), null);
});

test('an agent that asks for more than its share is told when to come back', async (t) => {
  const agent = await agentOf(t, await join(world, replica));
  const none = Array(256).fill(wanted({ csr: new Uint8Array(1) }));
  const calls = await Promise.allSettled(Array.from({ length: 20 }, () => issue(agent, none)));
  const codes = calls.map((call) => (call.status === 'rejected' ? call.reason.code : 'answered'));
  t.deepEqual([...new Set(codes)].sort(), ['answered', 'rate_limited']);
  t.true(codes.filter((code) => code === 'answered').length >= 15);
});

test('without a session on the same connection nothing is issued, renewed or reported', async (t) => {
  const identity = await join(world, replica);
  const first = await agentOf(t, identity);
  const second = new TestAgent(replica, identity);
  t.teardown(() => second.close());
  const refused = { code: 'unavailable' };
  await t.throwsAsync(issue(second, [wanted()]), refused);
  await t.throwsAsync(second.call(second.client.renew, { csr: wanted().csr }), refused);
  await t.throwsAsync(second.call(second.client.reportFleet, { socket: 's', changes: '{}' }), refused);
  await second.begin();
  t.is(await first.ended(), 'unavailable');
  await t.throwsAsync(issue(first, [wanted()]), refused, 'the older session was taken over');
  t.is(await refusalOf(second, wanted()), null);
});

test('nothing is issued to what an operator revoked', async (t) => {
  const identity = await join(world, replica);
  const agent = await agentOf(t, identity);
  const one = wanted({ instance: 'container:denied' });
  t.is(await refusalOf(agent, one), null);
  await world.revokeInstance('container:denied');
  await until('the denial is known', async () => (await refusalOf(agent, one)) === 'permission_denied');
  t.is(await refusalOf(agent, wanted()), null);
});

test.serial('a JWT-SVID is minted to what its entry grants, and to nobody else', async (t) => {
  const agent = await agentOf(t);
  const request = {
    entryId: 'web',
    spiffeId: 'spiffe://carnet.local/web',
    audience: ['db'],
    instance: 'container:0123',
    selectors: SELECTORS,
    evidence: '{}',
  };
  const ask = async (change: Partial<IssueJwtRequest> = {}) =>
    (await agent.call<IssueJwtRequest, IssueJwtResponse>(agent.client.issueJwt, { ...request, ...change }))
      .outcome;
  const minted = await ask();
  if (minted?.$case !== 'issued') return t.fail(JSON.stringify(minted));
  const claims = JSON.parse(Buffer.from(minted.value.token.split('.')[1] ?? '', 'base64url').toString());
  t.like(claims, { sub: 'spiffe://carnet.local/web', aud: 'db' });
  t.is(minted.value.expiresAtMs - minted.value.issuedAtMs, 300_000);
  for (const change of [{ audience: [] }, { audience: [''] }, { audience: Array(33).fill('x') }])
    t.like(await ask(change), { $case: 'refused', value: { code: 'invalid_argument' } });
  t.like(await ask({ selectors: ['unix:uid:1'] }), {
    $case: 'refused',
    value: { code: 'permission_denied' },
  });
});
