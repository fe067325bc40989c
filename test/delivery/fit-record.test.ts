import test from 'ava';
import { parseFleetChanges } from '../../src/agent/server/parse-fleet-changes.ts';
import { fitRecord } from '../../src/delivery/fit-record.ts';
import { Member } from '../../src/delivery/member.ts';
import { parseSpiffeId } from '../../src/identity/spiffe-id.ts';

const NOW = 1_800_000_000_000;
const HOUR_MS = 3_600_000;

/** An instance with streams that acknowledge nothing, each of an identity of its own. */
function recordOf(streams: number) {
  const member = new Member('process:1');
  for (let i = 0; i < streams; i++) {
    const stream = member.open(true);
    stream.node = `${i}`.padEnd(256, 'n');
    for (let version = 0; version < 8; version++)
      member.sentCertificate(stream, 'default', svid(i, version), NOW);
    member.sentBundle(stream, 'ROOTCA', `${i + 5}-x`, NOW, []);
  }
  const record = member.record(NOW, [svid(0, 9)]);
  if (record === null) throw new Error('there is nothing to remember');
  return record;
}

function svid(i: number, version: number) {
  return {
    identity: parseSpiffeId(`spiffe://carnet.local/${i}`),
    serial: `${i}-${version}`.padStart(32, '0'),
    chain: [],
    privateKey: new Uint8Array(),
    notBefore: new Date(NOW),
    notAfter: new Date(NOW + HOUR_MS),
    entryId: 'web',
    authority: 'issuing-1',
  };
}

const accepted = (record: ReturnType<typeof recordOf>) =>
  parseFleetChanges(JSON.stringify({ records: [record], ended: [] }), NOW).records[0];

test('an instance with more than servers take of one is reported in short, and counts for no less', (t) => {
  const record = { ...recordOf(400), keepUntil: NOW + HOUR_MS };
  t.throws(() => accepted(record), { code: 'invalid_argument' });
  const fitted = fitRecord(record);
  t.like(accepted(fitted), { instance: 'process:1', streams: 400, identities: [], bundleSent: 5 });
  const restored = Member.restore(fitted, NOW).record(NOW, []);
  t.deepEqual(restored?.authorities, record.authorities);
  t.is(restored?.bundleAcknowledged, null);
  t.is(restored?.bundleSent, 5);
});

test('one within the limits is reported as it is', (t) => {
  const record = recordOf(10);
  t.deepEqual(fitRecord(record), record);
});
