import test from 'ava';
import { JwtSvids, type JwtSvidsLimits } from '../../src/delivery/jwt-svids.ts';
import { CarnetError, type ErrorCode } from '../../src/errors.ts';
import { encodeSigningInput } from '../../src/identity/jwt-svid.ts';
import { parseSpiffeId } from '../../src/identity/spiffe-id.ts';
import type { Grant } from '../../src/policy/entry.ts';

const START = Date.UTC(2026, 5, 1);
const LIFE_MS = 300_000;
const WEB = parseSpiffeId('spiffe://carnet.local/web');
const GRANT: Grant = {
  entryId: 'web',
  entryVersion: 1,
  spiffeId: WEB,
  dnsNames: [],
  ttlSeconds: null,
  hint: null,
  federatesWith: [],
};

function world(limits: Partial<JwtSvidsLimits> = {}) {
  const state = { now: START, minted: 0, fails: null as ErrorCode | null, keys: ['jwt-1'] };
  const svids = new JwtSvids({
    mint: async (grant, _attestation, audience) => {
      if (state.fails !== null) throw new CarnetError(state.fails, 'as the test says');
      const [iat, jti] = [state.now / 1000, String(++state.minted)];
      const claims = { sub: grant.spiffeId, aud: audience, iat, exp: iat + LIFE_MS / 1000, jti };
      const token = `${encodeSigningInput('ES256', state.keys.at(-1) ?? '', claims)}.AA`;
      return { token, issuedAt: new Date(state.now), expiresAt: new Date(state.now + LIFE_MS) };
    },
    authorities: () => state.keys.map((keyId) => ({ keyId, publicKey: new Uint8Array() })),
    clock: () => state.now,
    limits,
  });
  const fetch = (
    audience: readonly string[] = ['a'],
    instance = 'process:1',
    grant = GRANT,
  ): Promise<string> => svids.fetch(grant, { instance, selectors: [], evidence: {} }, audience);
  return { state, fetch };
}

test('a token is handed out again until half of its life is over', async (t) => {
  const { state, fetch } = world();
  const first = await fetch();
  state.now = START + LIFE_MS / 2 - 1;
  t.is(await fetch(), first);
  state.now += 1;
  t.not(await fetch(), first);
  t.is(state.minted, 2);
});

test('an audience set is one in whatever order; another audience, instance, entry or identity is another token', async (t) => {
  const { state, fetch } = world();
  const first = await fetch(['a', 'b']);
  t.is(await fetch(['b', 'a']), first);
  for (const other of [
    fetch(['a']),
    fetch(['a', 'b'], 'process:2'),
    fetch(['a', 'b'], 'process:1', { ...GRANT, entryVersion: 2 }),
    fetch(['a', 'b'], 'process:1', { ...GRANT, spiffeId: parseSpiffeId('spiffe://carnet.local/api') }),
  ])
    t.not(await other, first);
  t.is(state.minted, 5);
});

test('callers that ask for the same at once share one', async (t) => {
  const { state, fetch } = world();
  t.is(new Set(await Promise.all([fetch(), fetch(), fetch()])).size, 1);
  t.is(state.minted, 1);
});

test('while no new one can be had the old one serves until it ends', async (t) => {
  const { state, fetch } = world();
  const first = await fetch();
  state.now = START + LIFE_MS - 1;
  state.fails = 'database_unavailable';
  t.is(await fetch(), first);
  state.now += 1;
  await t.throwsAsync(fetch(), { code: 'database_unavailable' });
});

test('to whom it is refused the old one is not given either', async (t) => {
  const { state, fetch } = world();
  await fetch();
  state.now = START + LIFE_MS / 2;
  state.fails = 'permission_denied';
  await t.throwsAsync(fetch(), { code: 'permission_denied' });
});

test('a token whose key is withdrawn is not handed out any more', async (t) => {
  const { state, fetch } = world();
  const first = await fetch();
  state.keys = ['jwt-1', 'jwt-2'];
  t.is(await fetch(), first);
  state.keys = ['jwt-2'];
  t.not(await fetch(), first);
});

test('an instance that asks for ever new ones is slowed down, and no other', async (t) => {
  const { state, fetch } = world({ burst: 2, perSecond: 1 });
  await fetch(['a']);
  await fetch(['b']);
  await t.throwsAsync(fetch(['c']), { code: 'rate_limited' });
  await t.notThrowsAsync(fetch(['a']));
  await t.notThrowsAsync(fetch(['c'], 'process:2'));
  state.now += 1000;
  await t.notThrowsAsync(fetch(['c']));
  await t.throwsAsync(fetch(['d']), { code: 'rate_limited' });
});

test('of more tokens than are kept the one that was used longest ago goes', async (t) => {
  const { state, fetch } = world({ tokens: 2 });
  const first = await fetch(['a']);
  await fetch(['b']);
  await fetch(['a']);
  await fetch(['c']);
  t.is(await fetch(['a']), first);
  t.is(state.minted, 3);
  await fetch(['b']);
  t.is(state.minted, 4);
});
