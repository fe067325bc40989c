import test from 'ava';
import type { Attestation } from '../../src/attestation/attestation.ts';
import type { X509Svid } from '../../src/delivery/holdings.ts';
import { Instances, type IssueFailure } from '../../src/delivery/instances.ts';
import { CarnetError } from '../../src/errors.ts';
import { parseSelector } from '../../src/identity/selector.ts';
import { parseSpiffeId, parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import type { Grant } from '../../src/policy/entry.ts';

const HOUR_MS = 3_600_000;
const START = Date.UTC(2026, 0, 1);

test('a caller gets what it is granted, first entry first, and is told once it is there', async (t) => {
  const world = createWorld();
  world.grants.set('unix:uid:1', [grant('a'), grant('b')]);
  const { holder } = world.instances.attach(caller('x', 1));
  t.like(holder.current(), { svids: [], complete: false, problem: null });
  let changes = 0;
  holder.subscribe(() => changes++);
  await world.settle();
  t.deepEqual(identities(holder), ['spiffe://td/a', 'spiffe://td/b']);
  t.true(holder.current().complete);
  t.is(changes, 2);
});

test('connections of one instance share a certificate, and two instances never do', async (t) => {
  const world = createWorld();
  world.grants.set('unix:uid:1', [grant('a')]);
  const [one, again, other] = [caller('x', 1), caller('x', 1), caller('y', 1)].map(
    (c) => world.instances.attach(c).holder,
  );
  await world.settle();
  t.is(serialOf(one), serialOf(again));
  t.not(serialOf(one), serialOf(other));
  t.is(world.issued, 2);
});

test('two users in one container share it and see only what each is granted', async (t) => {
  const world = createWorld();
  world.grants.set('unix:uid:1', [grant('a'), grant('shared')]);
  world.grants.set('unix:uid:2', [grant('shared')]);
  const first = world.instances.attach(caller('x', 1)).holder;
  const second = world.instances.attach(caller('x', 2)).holder;
  await world.settle();
  t.deepEqual(identities(first), ['spiffe://td/a', 'spiffe://td/shared']);
  t.deepEqual(identities(second), ['spiffe://td/shared']);
  t.is(second.current().svids[0], first.current().svids[1]);
});

test('a proxy that reconnects gets back what it held, without an issuance', async (t) => {
  const world = createWorld();
  world.grants.set('unix:uid:1', [grant('a')]);
  const { holder, detach } = world.instances.attach(caller('x', 1));
  await world.settle();
  const held = serialOf(holder);
  detach();
  world.failing = new CarnetError('database_unavailable', 'away');
  world.now += HOUR_MS / 4;
  world.instances.tick();
  t.is(serialOf(world.instances.attach(caller('x', 1)).holder), held);
});

test('nothing that it held is handed to a container that ended and was started again', async (t) => {
  const world = createWorld();
  world.grants.set('unix:uid:1', [grant('a')]);
  const { holder, detach } = world.instances.attach(caller('x', 1));
  await world.settle();
  const held = serialOf(holder);
  world.instances.forget('x');
  t.deepEqual(
    world.instances.heldBy('x').map(({ serial }) => serial),
    [held],
    'it is connected',
  );
  detach();
  world.instances.forget('x');
  t.deepEqual(world.instances.heldBy('x'), []);
  const again = world.instances.attach(caller('x', 1)).holder;
  t.deepEqual(again.current().svids, []);
  await world.settle();
  t.not(serialOf(again), held);
});

test('renewal comes between 40 and 50 % of a life, and only for those who are connected', async (t) => {
  const world = createWorld();
  world.grants.set('unix:uid:1', [grant('a')]);
  const { holder } = world.instances.attach(caller('x', 1));
  world.instances.attach(caller('gone', 1)).detach();
  await world.settle();
  const first = serialOf(holder);
  const issuedAtFirst = world.issued;
  world.now += HOUR_MS * 0.39;
  await world.settle();
  t.is(serialOf(holder), first);
  world.now += HOUR_MS * 0.12;
  await world.settle();
  t.not(serialOf(holder), first);
  t.is(world.issued, issuedAtFirst + 1);
});

test('a failed renewal keeps the old leaf, reports it, and succeeds by itself later', async (t) => {
  const world = createWorld();
  world.grants.set('unix:uid:1', [grant('a')]);
  const { holder } = world.instances.attach(caller('x', 1));
  await world.settle();
  const first = serialOf(holder);
  world.failing = new CarnetError('database_unavailable', 'the database is away');
  world.now += HOUR_MS / 2;
  await world.settle();
  t.is(serialOf(holder), first);
  t.like(world.failures[0], {
    instance: 'x',
    identity: 'spiffe://td/a',
    attempts: 1,
    expiresAt: START + HOUR_MS,
  });
  await world.settle();
  t.is(world.failures.length, 1, 'it waits before the next try');
  world.failing = null;
  world.now += 31_000;
  await world.settle();
  t.not(serialOf(holder), first);
});

test('what has expired is not handed out any more', async (t) => {
  const world = createWorld();
  world.grants.set('unix:uid:1', [grant('a')]);
  const { holder } = world.instances.attach(caller('x', 1));
  await world.settle();
  world.failing = new CarnetError('database_unavailable', 'the database is away');
  world.now += HOUR_MS;
  await world.settle();
  t.like(holder.current(), { svids: [], complete: false });
});

test('the first failure of a workload that has nothing says why', async (t) => {
  const world = createWorld();
  world.failing = new CarnetError('database_unavailable', 'the database is away');
  world.grants.set('unix:uid:1', [grant('a')]);
  const { holder } = world.instances.attach(caller('x', 1));
  await world.settle();
  t.is(holder.current().problem, 'the database is away');
});

test('a clock that goes back renews what was planned by it', async (t) => {
  const world = createWorld();
  world.grants.set('unix:uid:1', [grant('a')]);
  const { holder } = world.instances.attach(caller('x', 1));
  await world.settle();
  const first = serialOf(holder);
  world.now -= 24 * HOUR_MS;
  await world.settle();
  t.not(serialOf(holder), first);
  t.is(world.issued, 2);
});

test('an entry that goes withdraws its identity, one that changes is issued again, a new one is issued', async (t) => {
  const world = createWorld();
  world.grants.set('unix:uid:1', [grant('a'), grant('b')]);
  const { holder } = world.instances.attach(caller('x', 1));
  await world.settle();
  const [, b] = holder.current().svids;
  world.grants.set('unix:uid:1', [grant('b', 2), grant('c')]);
  world.instances.entriesChanged();
  t.is(holder.current().svids[0], b, 'the old leaf serves until the new one comes');
  await world.settle();
  t.deepEqual(identities(holder), ['spiffe://td/b', 'spiffe://td/c']);
  t.not(holder.current().svids[0], b);
});

test('a leaf whose entry was withdrawn while it was being issued is not handed out', async (t) => {
  const world = createWorld();
  world.grants.set('unix:uid:1', [grant('a')]);
  const { holder } = world.instances.attach(caller('x', 1));
  world.grants.set('unix:uid:1', []);
  world.instances.entriesChanged();
  await world.settle();
  t.deepEqual(holder.current().svids, []);
});

test('instances are forgotten oldest first, never while connected, and past the limit refused', async (t) => {
  const world = createWorld({ instances: 2 });
  world.grants.set('unix:uid:1', [grant('a')]);
  world.instances.attach(caller('x', 1)).detach();
  world.instances.attach(caller('y', 1));
  world.instances.attach(caller('z', 1));
  await world.settle();
  t.is(world.instances.size, 2);
  t.throws(() => world.instances.attach(caller('w', 1)), { code: 'overloaded' });
});

test('leaves of a superseded authority are replaced in waves, those who are away only when they are back', async (t) => {
  const world = createWorld({ wave: 3 });
  world.grants.set('unix:uid:1', [grant('a')]);
  const holders = Array.from({ length: 7 }, (_, i) => world.instances.attach(caller(`x${i}`, 1)).holder);
  const away = world.instances.attach(caller('away', 1));
  await world.settle();
  away.detach();
  const replaced = (): number =>
    holders.filter((holder) => holder.current().svids[0]?.authority === 'issuing-2').length;
  world.authority = 'issuing-2';
  await world.settle();
  t.is(replaced(), 0, 'a new authority alone is no reason');
  world.superseded.set('issuing-1', 'wave');
  for (const expected of [3, 6, 7, 7]) {
    await world.settle();
    t.is(replaced(), expected);
  }
  t.is(away.holder.current().svids[0]?.authority, 'issuing-1');
  const { holder } = world.instances.attach(caller('away', 1));
  await world.settle();
  t.is(holder.current().svids[0]?.authority, 'issuing-2');
});

test('after a compromise they are replaced at once', async (t) => {
  const world = createWorld({ wave: 3 });
  world.grants.set('unix:uid:1', [grant('a')]);
  for (let i = 0; i < 20; i++) world.instances.attach(caller(`x${i}`, 1));
  await world.settle();
  world.superseded.set('issuing-1', 'urgent');
  world.authority = 'issuing-2';
  await world.settle();
  t.is(world.issued, 40);
});

test('a superseded leaf whose replacement failed is tried again no sooner than another', async (t) => {
  const world = createWorld();
  world.grants.set('unix:uid:1', [grant('a')]);
  world.instances.attach(caller('x', 1));
  await world.settle();
  world.superseded.set('issuing-1', 'urgent');
  world.failing = new CarnetError('database_unavailable', 'away');
  for (let i = 0; i < 10; i++) await world.settle();
  t.is(world.failures.length, 1);
});

test('what is held for an instance is told, and when a leaf is withdrawn', async (t) => {
  const world = createWorld();
  world.grants.set('unix:uid:1', [grant('a'), grant('b')]);
  const { holder } = world.instances.attach(caller('x', 1));
  await world.settle();
  t.deepEqual(world.instances.heldBy('x'), [...holder.current().svids]);
  t.deepEqual(world.withdrawn, []);
  world.grants.set('unix:uid:1', [grant('b')]);
  world.instances.entriesChanged();
  t.deepEqual(world.withdrawn, ['x']);
  t.deepEqual(world.instances.heldBy('x'), [...holder.current().svids]);
  t.deepEqual(world.instances.heldBy('nobody'), []);
});

test('no more issuances are under way than the limit', async (t) => {
  const world = createWorld({ concurrency: 3 });
  world.grants.set('unix:uid:1', [grant('a')]);
  for (let i = 0; i < 20; i++) world.instances.attach(caller(`x${i}`, 1));
  await world.settle();
  t.is(world.issued, 20);
  t.is(world.mostUnderWay, 3);
});

function createWorld(limits = {}) {
  const world = {
    now: START,
    grants: new Map<string, Grant[]>(),
    failing: null as Error | null,
    failures: [] as IssueFailure[],
    authority: 'issuing-1',
    superseded: new Map<string, 'wave' | 'urgent'>(),
    withdrawn: [] as string[],
    issued: 0,
    underWay: 0,
    mostUnderWay: 0,
    instances: undefined as unknown as Instances,
    async settle() {
      world.instances.tick();
      for (let i = 0; i < 100; i++) await Promise.resolve();
    },
  };
  world.instances = new Instances({
    issue: async (wanted) => {
      world.mostUnderWay = Math.max(world.mostUnderWay, ++world.underWay);
      await Promise.resolve();
      world.underWay--;
      if (world.failing !== null) throw world.failing;
      return { ...svid(wanted, ++world.issued, world.now), authority: world.authority };
    },
    grantsOf: ({ selectors }) => selectors.flatMap((selector) => world.grants.get(selector) ?? []),
    bundle: () => BUNDLE,
    clock: () => world.now,
    random: () => 0.5,
    onIssued: () => undefined,
    onFailed: (failure) => world.failures.push(failure),
    onWithdrawn: (instance) => world.withdrawn.push(instance),
    isSuperseded: (authority) => world.superseded.get(authority) ?? 'no',
    limits,
  });
  return world;
}

const BUNDLE = {
  trustDomain: parseTrustDomain('td'),
  sequence: 1,
  x509Sequence: 1,
  x509Authorities: [],
  crls: [],
  jwtAuthorities: [],
};

function grant(name: string, entryVersion = 1): Grant {
  return {
    entryId: name,
    entryVersion,
    spiffeId: parseSpiffeId(`spiffe://td/${name}`),
    dnsNames: [],
    ttlSeconds: null,
    hint: null,
    federatesWith: [],
  };
}

function caller(instance: string, uid: number): Attestation {
  return { instance, selectors: [parseSelector(`unix:uid:${uid}`)], evidence: {} };
}

function svid(wanted: Grant, count: number, now: number): X509Svid {
  return {
    identity: wanted.spiffeId,
    serial: String(count),
    chain: [],
    privateKey: new Uint8Array(),
    notBefore: new Date(now - 30_000),
    notAfter: new Date(now + HOUR_MS),
    entryId: wanted.entryId,
    authority: 'issuing-1',
  };
}

type Held = { current(): { svids: readonly X509Svid[] } } | undefined;

function identities(holder: Held): string[] | undefined {
  return holder?.current().svids.map(({ identity }) => identity);
}

function serialOf(holder: Held): string | undefined {
  return holder?.current().svids[0]?.serial;
}
