import test, { type ExecutionContext } from 'ava';
import { listConsumers } from '../../../src/db/consumers.ts';
import type { FleetChanges, FleetRemains } from '../../../src/delivery/fleet.ts';
import type { ConsumerRecord } from '../../../src/delivery/member.ts';
import type {
  LoadFleetRequest,
  LoadFleetResponse,
  ReportFleetRequest,
  ReportFleetResponse,
} from '../../../src/gen/carnet/agent/v1/agent.ts';
import { createWorld, join, TestAgent } from './world.ts';

const world = await createWorld();
const replica = await world.replica();
test.after.always(() => world.close());

async function agentOf(t: ExecutionContext): Promise<TestAgent> {
  const agent = new TestAgent(replica, await join(world, replica));
  t.teardown(() => agent.close());
  await agent.begin();
  return agent;
}

function record(change: Partial<ConsumerRecord> = {}): ConsumerRecord {
  return {
    instance: 'container:0123',
    names: ['envoy-1'],
    identities: ['spiffe://carnet.local/web'],
    streams: 1,
    gone: false,
    acknowledges: true,
    bundleSent: 1,
    bundleSentAt: Date.now(),
    bundleAcknowledged: 1,
    bundleObserved: null,
    observesUntil: null,
    authorities: ['issuing-1'],
    holdsUntil: Date.now() + 3_600_000,
    problem: null,
    keepUntil: Date.now() + 3_600_000,
    held: { open: [], left: [], lasting: [], own: [], unconfirmed: null },
    ...change,
  };
}

function report(agent: TestAgent, changes: unknown, socket = '/run/carnet/agent.sock') {
  return agent.call<ReportFleetRequest, ReportFleetResponse>(agent.client.reportFleet, {
    socket,
    changes: typeof changes === 'string' ? changes : JSON.stringify(changes),
  });
}

async function load(agent: TestAgent, socket = '/run/carnet/agent.sock'): Promise<FleetRemains> {
  const request = { socket };
  const { remains } = await agent.call<LoadFleetRequest, LoadFleetResponse>(agent.client.loadFleet, request);
  return JSON.parse(remains) as FleetRemains;
}

test('what an agent reports is what the next one of its socket is told, and counts for rotations', async (t) => {
  const agent = await agentOf(t);
  const one = record();
  await report(agent, { records: [one], ended: [] } satisfies FleetChanges);
  // When a bundle was sent is the server's own word, by the database's clock.
  const { bundleSentAt, ...told } = JSON.parse(JSON.stringify(one)) as ConsumerRecord;
  const { records } = await load(agent);
  t.like(records, [told]);
  t.true((records[0]?.bundleSentAt ?? 0) >= (bundleSentAt ?? 0));
  t.deepEqual((await load(agent, '/run/other.sock')).records, []);
  const listed = await listConsumers(world.database, agent.identity.node);
  t.like(
    listed.find(({ instance }) => instance === one.instance),
    { node: agent.identity.node, names: ['envoy-1'] },
  );
  await report(agent, { records: [], ended: [one.instance] });
  t.deepEqual((await load(agent)).records, []);
});

test('an agent reports for its own node, and neither ends nor learns what another reported', async (t) => {
  const [mine, other] = [await agentOf(t), await agentOf(t)];
  await report(mine, { records: [record()], ended: [] });
  await report(other, { records: [], ended: ['container:0123'] });
  t.is((await load(mine)).records.length, 1);
  t.deepEqual(await load(other), { records: [], unreported: [] });
});

for (const [claim, changes] of [
  ['no JSON', '{'],
  ['no object', []],
  ['a record without a field', { records: [{ ...record(), streams: undefined }], ended: [] }],
  ['1,001 records', { records: Array(1001).fill(record()), ended: [] }],
  ['the instance of an agent', { records: [record({ instance: 'agent:x' })], ended: [] }],
  ['a negative count', { records: [record({ streams: -1 })], ended: [] }],
  ['a time that is none', { records: [record({ keepUntil: 9e15 })], ended: [] }],
  [
    'an instance that is to be kept for a year',
    { records: [record({ keepUntil: Date.now() + 365 * 86_400_000 })], ended: [] },
  ],
  [
    'a certificate that ends in a year',
    { records: [record({ holdsUntil: Date.now() + 365 * 86_400_000 })], ended: [] },
  ],
  ['details of 300 KiB', { records: [{ ...record(), held: { x: 'x'.repeat(300 * 1024) } }], ended: [] }],
  ['details that are a list', { records: [{ ...record(), held: [] }], ended: [] }],
  ['257 names', { records: [record({ names: Array(257).fill('x') })], ended: [] }],
] as const)
  test(`a report with ${claim} is refused, and changes nothing`, async (t) => {
    const agent = await agentOf(t);
    await t.throwsAsync(report(agent, changes), { code: 'invalid_argument' });
    t.deepEqual((await load(agent)).records, []);
  });

for (const socket of ['', 'link', `/${'x'.repeat(1024)}`, '/run/\u0007'])
  test(`a socket called ${JSON.stringify(socket.slice(0, 10))} is refused`, async (t) => {
    const agent = await agentOf(t);
    await t.throwsAsync(load(agent, socket), { code: 'invalid_argument' });
  });
