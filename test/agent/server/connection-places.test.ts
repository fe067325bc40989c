import test from 'ava';
import { ConnectionPlaces } from '../../../src/agent/server/connection-places.ts';
import type { Caller } from '../../../src/agent/server/peer.ts';
import { parseSpiffeId } from '../../../src/identity/spiffe-id.ts';

const LIMITS = {
  strangers: 4,
  strangersOfOneAddress: 2,
  workloads: 3,
  ofOneCertificate: 2,
  ofOneAgent: 2,
};

function nobody(address: string): Caller {
  return { kind: 'none', address };
}

function svid(serial: string) {
  const spiffeId = parseSpiffeId('spiffe://carnet.local/web');
  return { address: '', spiffeId, serial, notAfter: new Date(0), certificate: new Uint8Array() };
}

/** How many of these may be connected at once. */
function room(places: ConnectionPlaces, caller: Caller | Error, address = ''): number {
  let count = 0;
  while (places.take(caller, address) !== null) count++;
  return count;
}

for (const [claim, caller, address, expected] of [
  ['an address', nobody('192.0.2.1'), '192.0.2.1', 2],
  ['an address that shows certificates which are refused', new Error('refused'), '192.0.2.1', 2],
  ['a certificate', { kind: 'svid', ...svid('01') } as Caller, '192.0.2.1', 2],
  ['an agent', { kind: 'agent', node: 'web-1', ...svid('01') } as Caller, '192.0.2.1', 2],
] as const)
  test(`${claim} has so many connections, and the others theirs`, (t) => {
    const places = new ConnectionPlaces(LIMITS);
    t.is(room(places, caller, address), expected);
    t.is(room(places, nobody('192.0.2.2'), '192.0.2.2'), 2);
    t.is(room(places, { kind: 'agent', node: 'web-2', ...svid('02') }), 2);
    t.is(
      room(places, { kind: 'svid', ...svid('03') }),
      caller instanceof Error || caller.kind !== 'svid' ? 2 : 1,
    );
  });

test('an agent of many certificates has no more connections', (t) => {
  const places = new ConnectionPlaces(LIMITS);
  for (const serial of ['01', '02'])
    t.not(places.take({ kind: 'agent', node: 'web-1', ...svid(serial) }, ''), null);
  t.is(places.take({ kind: 'agent', node: 'web-1', ...svid('03') }, ''), null);
});

test('a network of 64 bits is one address', (t) => {
  const places = new ConnectionPlaces(LIMITS);
  for (const last of [1, 2]) t.not(places.take(nobody(''), `2001:db8::${last}`), null);
  t.is(places.take(nobody(''), '2001:db8::3'), null);
});

test('who shows a token leaves his place among the strangers, and gives back the one that he has', (t) => {
  const places = new ConnectionPlaces(LIMITS);
  const address = '192.0.2.1';
  const taken = [1, 2].map(() => places.take(nobody(address), address));
  t.is(room(places, nobody(address), address), 0);
  t.true(taken[0]?.becomeWorkload());
  t.not(places.take(nobody(address), address), null);
  for (const place of taken) place?.giveBack();
  t.is(room(places, nobody(address), address), 1);
  t.is(room(places, { kind: 'svid', ...svid('01') }) + room(places, { kind: 'svid', ...svid('02') }), 3);
});
