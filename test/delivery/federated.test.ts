import test from 'ava';
import { View } from '../../src/delivery/instance.ts';
import { parseSpiffeId, parseTrustDomain, type TrustDomain } from '../../src/identity/spiffe-id.ts';
import type { Grant } from '../../src/policy/entry.ts';
import { bundle } from '../sds/holder.ts';
import { FleetWorld } from './fleet-world.ts';

const [B, C] = [parseTrustDomain('b.test'), parseTrustDomain('c.test')];
const OWN = bundle(1);
const KNOWN = new Map([B, C].map((trustDomain) => [trustDomain, bundle(2, { trustDomain })]));

test('a caller holds the bundles that its entries federate with, by trust domain, and no others', (t) => {
  const { view, refresh } = viewOf(grant([B]), grant([C, B]));
  refresh();
  t.deepEqual(view.current().federated, [KNOWN.get(B), KNOWN.get(C)]);
  const other = viewOf(grant([]));
  other.refresh();
  t.deepEqual(other.view.current().federated, []);
});

test('a change of a foreign bundle reaches those who federate with it, and nobody else', (t) => {
  const [concerned, other] = [viewOf(grant([B])), viewOf(grant([C]))];
  for (const one of [concerned, other]) one.refresh();
  const fresh = bundle(3, { trustDomain: B });
  for (const one of [concerned, other]) one.refresh(new Map([...KNOWN, [B, fresh]]));
  t.deepEqual(concerned.view.current().federated, [fresh]);
  t.deepEqual([concerned.told(), other.told()], [2, 1]);
});

for (const [what, take] of [
  [
    'its entry federates no more',
    ({ view, refresh }) => {
      view.grants = [grant([])];
      refresh();
    },
  ],
  ['the federation is deleted', ({ refresh }) => refresh(new Map())],
] as [string, (one: ReturnType<typeof viewOf>) => void][])
  test(`once ${what} a caller is given an empty bundle, as a proxy keeps what is merely withdrawn`, (t) => {
    const one = viewOf(grant([B]));
    one.refresh();
    take(one);
    t.like(one.view.current().federated, [{ trustDomain: B, x509Authorities: [] }]);
    t.is(one.told(), 2);
    one.refresh(new Map());
    t.is(one.told(), 2, 'which stays the same');
  });

test('a foreign bundle says nothing of where a proxy stands with our own', (t) => {
  const world = new FleetWorld();
  world.trust('s', 5).federate('f', 'spiffe://b.test', 'f2-000000000000');
  t.like(world.record(), { bundleSent: 5, bundleAcknowledged: 5 });
});

function viewOf(...grants: Grant[]) {
  const view = new View({ instance: 'process:x', selectors: [], evidence: {} }, OWN);
  view.grants = grants;
  let told = 0;
  view.subscribe(() => told++);
  const refresh = (federated: ReadonlyMap<TrustDomain, typeof OWN> = KNOWN): void =>
    view.refresh(new Map(), { bundle: OWN, federated }, 0);
  return { view, refresh, told: () => told };
}

function grant(federatesWith: readonly TrustDomain[]): Grant {
  const spiffeId = parseSpiffeId('spiffe://carnet.local/web');
  return {
    entryId: 'web',
    entryVersion: 1,
    spiffeId,
    dnsNames: [],
    ttlSeconds: null,
    hint: null,
    federatesWith,
  };
}
