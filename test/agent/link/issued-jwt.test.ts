import test from 'ava';
import { issuedJwtOf, jwtRequestOf } from '../../../src/agent/link/issued-jwt.ts';
import { createJwtKey, openJwtKey } from '../../../src/ca/jwt-key.ts';
import type { JwtRequest } from '../../../src/ca/jwt-request.ts';
import { createMintJwt } from '../../../src/ca/mint-jwt.ts';
import { sealedKeyStore } from '../../../src/ca/sealed-key-store.ts';
import { parseSpiffeId } from '../../../src/identity/spiffe-id.ts';
import { KEK } from '../../ca/authorities.ts';
import { bundle } from '../../sds/holder.ts';
import { grant } from '../../workload-api/harness.ts';

const KEYS = sealedKeyStore(KEK);
const key = openJwtKey(
  await createJwtKey({ keyAlgorithm: 'ec-p256', ttlSeconds: 3600, now: Date.now() }, KEYS),
  KEYS,
);
const BUNDLE = bundle(1, { jwtAuthorities: [{ keyId: key.id, publicKey: key.publicKey }] });
const REQUEST: JwtRequest = {
  grant: grant(),
  audience: ['reports', 'payments'],
  attestation: { instance: 'container:1', selectors: [], evidence: { uid: 1000 } },
  node: 'n1',
  requester: 'agent:n1',
};
const mint = createMintJwt({
  activeKey: () => key,
  recorder: { record: async () => undefined },
  clock: Date.now,
  ttlSeconds: 300,
  issuer: null,
});

/** What a server answers that mints for this request. */
async function answer(request: Partial<JwtRequest> = {}) {
  const { token, issuedAt, expiresAt } = await mint({ ...REQUEST, ...request });
  const value = { token, issuedAtMs: issuedAt.getTime(), expiresAtMs: expiresAt.getTime() };
  return { outcome: { $case: 'issued' as const, value } };
}

test('a server is asked for the workload as it was attested, and the entry that grants it', (t) => {
  t.deepEqual(jwtRequestOf(REQUEST), {
    entryId: 'web',
    spiffeId: 'spiffe://carnet.local/web',
    audience: ['reports', 'payments'],
    instance: 'container:1',
    selectors: [],
    evidence: '{"uid":1000}',
  });
});

test('a token that verifies by our bundle is taken, with its times', async (t) => {
  const { token, issuedAt, expiresAt } = issuedJwtOf(await answer(), REQUEST, BUNDLE, Date.now());
  t.is(token.split('.').length, 3);
  t.is(expiresAt.getTime() - issuedAt.getTime(), 300_000);
});

for (const [what, request] of [
  ['another identity', { grant: grant({ spiffeId: parseSpiffeId('spiffe://carnet.local/api') }) }],
  ['fewer audiences', { audience: ['reports'] }],
] as const)
  test(`a token for ${what} is not`, async (t) => {
    const other = await answer(request);
    t.throws(() => issuedJwtOf(other, REQUEST, BUNDLE, Date.now()), { code: 'unavailable' });
  });

test('a token by a key that our bundle does not have is not, and one that has ended', async (t) => {
  const good = await answer();
  t.throws(() => issuedJwtOf(good, REQUEST, bundle(1), Date.now()), { code: 'unavailable' });
  t.throws(() => issuedJwtOf(good, REQUEST, BUNDLE, Date.now() + 400_000), { code: 'unavailable' });
});

test('a refusal has the server’s own code and words', (t) => {
  const refused = { code: 'permission_denied', message: 'it is revoked' };
  for (const [value, expected] of [
    [refused, refused],
    [
      { ...refused, code: 'nonsense' },
      { code: 'internal', message: 'it is revoked' },
    ],
  ] as const)
    t.throws(
      () => issuedJwtOf({ outcome: { $case: 'refused', value } }, REQUEST, BUNDLE, Date.now()),
      expected as { message: string },
    );
  t.throws(() => issuedJwtOf({ outcome: undefined }, REQUEST, BUNDLE, Date.now()), { code: 'internal' });
});
