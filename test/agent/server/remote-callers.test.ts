import { Metadata } from '@grpc/grpc-js';
import test from 'ava';
import { endOfToken } from '../../../src/agent/server/jwt-end.ts';
import type { Caller } from '../../../src/agent/server/peer.ts';
import { RemoteCallers } from '../../../src/agent/server/remote-callers.ts';
import { SvidCallers } from '../../../src/agent/server/svid-callers.ts';
import { TokenCallers, type TokenLimits } from '../../../src/agent/server/token-callers.ts';
import type { Attachment } from '../../../src/delivery/instances.ts';
import { CarnetError } from '../../../src/errors.ts';
import { parseSpiffeId } from '../../../src/identity/spiffe-id.ts';

const STRANGER: Caller = { kind: 'none', address: '192.0.2.1' };
const WEB: Caller = {
  kind: 'svid',
  address: '192.0.2.1',
  spiffeId: parseSpiffeId('spiffe://carnet.local/web'),
  serial: '01'.repeat(16),
  notAfter: new Date(10_000_000),
  certificate: new Uint8Array(),
};

/** An unsigned JWT that ends at this time, in seconds. */
function tokenUntil(exp: number, other = ''): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'none' })}.${part({ exp, other })}.x`;
}

/** Callers at a time that the test sets, whose tokens are all accepted. */
function makeWorld(limits: Partial<TokenLimits> = {}) {
  let asked = 0;
  const world = {
    now: 0,
    caller: STRANGER as Caller | CarnetError,
    hungUp: 0,
    attached: 0,
    asked: () => asked,
    answer: async (): Promise<void> => undefined,
  };
  const tokens = new TokenCallers({
    endOf: (token) => endOfToken(token, world.now),
    authenticate: async () => {
      asked++;
      await world.answer();
      return { attestation: { instance: 'pod:1', selectors: [], evidence: {} }, node: 'n1' };
    },
    clock: () => world.now,
    limits,
  });
  const callers = new RemoteCallers({
    connections: {
      callerOf: () => {
        if (world.caller instanceof CarnetError) throw world.caller;
        return world.caller;
      },
      vouchFor: () => undefined,
      hangUp: () => {
        world.hungUp++;
      },
    },
    svids: new SvidCallers(async () => {
      asked++;
      await world.answer();
      return { instance: 'container:1', node: 'n1' };
    }),
    tokens,
    attach: ({ attestation: { instance } }) => {
      world.attached++;
      return { holder: { instance }, detach: () => world.attached-- } as unknown as Attachment;
    },
    clock: () => world.now,
  });
  return Object.assign(world, { callers });
}

function callWith(token?: string) {
  const metadata = new Metadata();
  if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
  return { getPeer: () => 'peer-1', metadata };
}

test('a call’s token counts until it ends, and not the connection’s other tokens', async (t) => {
  const world = makeWorld();
  const [brief, long] = [callWith(tokenUntil(100)), callWith(tokenUntil(200))];
  for (const call of [brief, long]) t.is((await world.callers.holderOf(call)).instance, 'pod:1');
  world.now = 100_000;
  t.throws(() => world.callers.check(brief), { code: 'unauthenticated', message: /expired at .* newer one/ });
  t.notThrows(() => world.callers.check(long));
  t.is(world.hungUp, 0);
  await t.throwsAsync(world.callers.holderOf(callWith(tokenUntil(100))), { code: 'unauthenticated' });
  for (const call of [brief, long]) world.callers.left(call);
  t.is(world.attached, 0);
});

test('a token is asked about once in 30 s, at most 64 at a time, and again after a failure', async (t) => {
  const world = makeWorld({ asking: 2 });
  const token = tokenUntil(1000);
  await Promise.all(Array.from({ length: 5 }, () => world.callers.holderOf(callWith(token))));
  t.is(world.asked(), 1);
  world.now = 30_000;
  await world.callers.holderOf(callWith(token));
  t.is(world.asked(), 2);
  const held = Promise.withResolvers<void>();
  world.answer = () => held.promise;
  const asking = [1, 2].map((n) => world.callers.holderOf(callWith(tokenUntil(1000, String(n)))));
  await t.throwsAsync(world.callers.holderOf(callWith(tokenUntil(1000, 'third'))), { code: 'overloaded' });
  held.reject(new CarnetError('unavailable', 'away'));
  for (const one of asking) await t.throwsAsync(one, { code: 'unavailable' });
  world.answer = async () => undefined;
  t.is((await world.callers.holderOf(callWith(tokenUntil(1000, '1')))).instance, 'pod:1');
});

test('a certificate that counts no more is hung up on, and refused also while its record was being read', async (t) => {
  const world = makeWorld();
  world.caller = WEB;
  const call = callWith();
  t.is((await world.callers.holderOf(call)).instance, 'container:1');
  const revoked = new CarnetError('unauthenticated', 'revoked');
  const held = Promise.withResolvers<void>();
  world.caller = { ...WEB, serial: '02'.repeat(16) };
  world.answer = () => held.promise;
  const late = world.callers.holderOf(callWith());
  world.caller = revoked;
  held.resolve();
  await t.throwsAsync(late, { is: revoked });
  t.throws(() => world.callers.check(call), { is: revoked });
  t.is(world.hungUp, 2);
  t.is(world.attached, 1);
});

for (const [what, header] of [
  ['a text that is no token', 'Bearer two words'],
  ['another scheme', 'Basic eDp5'],
  ['16 KiB and more', `Bearer ${'x'.repeat(16_385)}`],
  ['a token that is no JWT', 'Bearer x.y'],
  ['a token without an end', `Bearer ${tokenUntil(undefined as unknown as number)}`],
  ['one whose end is no time', `Bearer ${tokenUntil('soon' as unknown as number)}`],
] as const)
  test(`refuses ${what}, and asks nobody about it`, async (t) => {
    const world = makeWorld();
    const call = callWith();
    call.metadata.set('authorization', header);
    await t.throwsAsync(world.callers.holderOf(call), { code: 'unauthenticated' });
    t.is(world.asked(), 0);
  });
