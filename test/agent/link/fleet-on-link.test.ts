import test from 'ava';
import { FleetOnLink } from '../../../src/agent/link/fleet-on-link.ts';
import { LINK_LIMITS } from '../../../src/agent/link-limits.ts';
import type { FleetChanges } from '../../../src/delivery/fleet.ts';
import { Member } from '../../../src/delivery/member.ts';

const NOW = 1_800_000_000_000;

test('what does not fit into one message goes in several, each record once', async (t) => {
  const sent: FleetChanges[] = [];
  const link = {
    loadFleet: async () => '{"records":[],"unreported":[]}',
    reportFleet: async (_: string, changes: string) => {
      t.true(Buffer.byteLength(changes) < LINK_LIMITS.upBytes);
      sent.push(JSON.parse(changes) as FleetChanges);
    },
  };
  const records = Array.from({ length: 100 }, (_, i) => recordOf(`process:${i}`));
  t.true(Buffer.byteLength(JSON.stringify(records)) > LINK_LIMITS.upBytes);
  const ended = ['process:1000'];
  await new FleetOnLink(link, '/run/agent.sock', null).write({ records, ended });
  t.true(sent.length > 1);
  t.deepEqual(
    sent.flatMap((part) => part.records.map(({ instance }) => instance)),
    records.map(({ instance }) => instance),
  );
  t.deepEqual(
    sent.flatMap((part) => part.ended),
    ended,
  );
});

/** Of some 100 KiB. */
function recordOf(instance: string) {
  const member = new Member(instance);
  for (let i = 0; i < 300; i++) {
    const stream = member.open(true);
    stream.node = `${i}`.padEnd(256, 'n');
    member.sentBundle(stream, 'ROOTCA', '5-x', NOW, []);
  }
  const record = member.record(NOW, []) ?? member.record(0, []);
  if (record === null) throw new Error('there is nothing to remember');
  return record;
}
