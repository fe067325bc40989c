import { createHash, createPublicKey } from 'node:crypto';
import test from 'ava';
import { createLocalJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import type { Issuance, Recorder } from '../../src/audit/issuance.ts';
import { createJwtKey, JWT_KEY_ALGORITHMS, openJwtKey, type SigningJwtKey } from '../../src/ca/jwt-key.ts';
import { createMintJwt, type MintJwtOptions } from '../../src/ca/mint-jwt.ts';
import { sealedKeyStore } from '../../src/ca/sealed-key-store.ts';
import { CarnetError } from '../../src/errors.ts';
import { encodeJwtKeys } from '../../src/identity/bundle-document.ts';
import { generateKeys } from '../x509/keys.ts';
import { issueRequest, KEK } from './authorities.ts';

const KEYS = sealedKeyStore(KEK);
const TTL_SECONDS = 300;

async function world(
  options: Partial<MintJwtOptions> = {},
  keyAlgorithm: (typeof JWT_KEY_ALGORITHMS)[number] = 'ec-p256',
) {
  const stored = await createJwtKey({ keyAlgorithm, ttlSeconds: 3600, now: Date.now() }, KEYS);
  const key = openJwtKey(stored, KEYS);
  const records: Issuance[] = [];
  const recorder: Recorder = { record: async (issuance) => void records.push(issuance) };
  const mint = createMintJwt({
    activeKey: () => key,
    recorder,
    clock: Date.now,
    ttlSeconds: TTL_SECONDS,
    issuer: null,
    ...options,
  });
  return { key, records, mint };
}

function request(audience: readonly string[] = ['reports']) {
  const { grant, attestation, requester } = issueRequest(generateKeys('ec-p256'), 'ec-p256');
  return { grant, attestation, node: 'node-1', requester, audience };
}

function keySetOf({ id, publicKey }: SigningJwtKey) {
  const { keys } = encodeJwtKeys({ jwtAuthorities: [{ keyId: id, publicKey }] });
  return createLocalJWKSet({ keys: keys.map(({ use: _, ...key }) => key) as never });
}

for (const algorithm of JWT_KEY_ALGORITHMS)
  test(`a token by an ${algorithm} key is one to jose, with the claims of JWT-SVID §3`, async (t) => {
    const { mint, key } = await world({}, algorithm);
    const { token, issuedAt, expiresAt } = await mint(request());
    const { payload, protectedHeader } = await jwtVerify(token, keySetOf(key), { audience: 'reports' });
    const iat = issuedAt.getTime() / 1000;
    t.deepEqual(protectedHeader, { alg: key.algorithm, kid: key.id, typ: 'JWT' });
    t.like(payload, {
      sub: 'spiffe://carnet.test/ns/default/sa/web',
      aud: 'reports',
      iat,
      exp: iat + TTL_SECONDS,
    });
    t.deepEqual(Object.keys(payload).sort(), ['aud', 'exp', 'iat', 'jti', 'sub']);
    t.is(expiresAt.getTime() / 1000, payload.exp ?? 0);
  });

test('jose refuses it for another audience, and by another key', async (t) => {
  const { mint, key } = await world();
  const { token } = await mint(request());
  await t.throwsAsync(jwtVerify(token, keySetOf(key), { audience: 'payments' }), {
    code: 'ERR_JWT_CLAIM_VALIDATION_FAILED',
  });
  const other = await world();
  await t.throwsAsync(jwtVerify(token, keySetOf({ ...other.key, id: key.id })), {
    code: 'ERR_JWS_SIGNATURE_VERIFICATION_FAILED',
  });
});

test('it names its issuer where there is one', async (t) => {
  const { mint, key } = await world({ issuer: 'https://carnet.example' });
  const { token } = await mint(request());
  const { payload } = await jwtVerify(token, keySetOf(key), { issuer: 'https://carnet.example' });
  t.is(payload.iss, 'https://carnet.example');
});

test('the record has its jti, what it says and its digest, and no token', async (t) => {
  const { mint, key, records } = await world();
  const { token, expiresAt } = await mint(request(['a', 'b', 'a']));
  const [record] = records;
  const { payload } = await jwtVerify(token, keySetOf(key));
  const signed = token.slice(0, token.lastIndexOf('.'));
  t.deepEqual(payload.aud, ['a', 'b']);
  t.like(record, {
    serial: payload.jti,
    profile: 'jwt-svid',
    identity: payload.sub,
    notAfter: expiresAt,
    authority: key.id,
    node: 'node-1',
  });
  t.is(record?.serial.length, 32);
  t.is(Buffer.from(record?.certificate ?? []).toString(), signed);
  t.deepEqual(Buffer.from(record?.certificateSha256 ?? []), createHash('sha256').update(token).digest());
  t.false(JSON.stringify(records).includes(token.slice(signed.length + 1)));
});

test('nothing is released that is not recorded', async (t) => {
  const recorder = {
    record: () => Promise.reject(new CarnetError('database_unavailable', 'as the test says')),
  };
  const { mint } = await world({ recorder });
  await t.throwsAsync(mint(request()), { code: 'database_unavailable' });
});

for (const [what, audience] of [
  ['no audience', []],
  ['an empty audience', ['']],
  ['nine audiences', [...'abcdefghi']],
  ['an audience of 513 bytes', ['a'.repeat(513)]],
  ['an audience that breaks a line', ['a\nb']],
] as const)
  test(`refuses ${what}, and records nothing`, async (t) => {
    const { mint, records } = await world();
    await t.throwsAsync(mint(request(audience)), { code: 'invalid_argument' });
    t.is(records.length, 0);
  });

test('a token never outlives its key, and one that has ended signs nothing', async (t) => {
  const { key, mint } = await world({ clock: () => key.notAfter.getTime() - 60_000 });
  t.deepEqual((await mint(request())).expiresAt, key.notAfter);
  const late = await world({ clock: () => Date.now() + 3_600_000 });
  await t.throwsAsync(late.mint(request()), { code: 'authority_unavailable' });
});

test('a key is sealed under its own ID, and opens for no other', async (t) => {
  const [one, other] = await Promise.all(
    [1, 2].map(() => createJwtKey({ keyAlgorithm: 'ec-p256', ttlSeconds: 60, now: Date.now() }, KEYS)),
  );
  if (one === undefined || other === undefined) return t.fail();
  t.regex(one.id, /^jwt-[0-9a-f]{8}$/);
  t.throws(() => openJwtKey({ ...one, id: other.id }, KEYS), { code: 'key_unseal_failed' });
  t.throws(() => openJwtKey({ ...one, publicKey: other.publicKey }, KEYS), { code: 'key_unseal_failed' });
  const der = createPublicKey({ key: Buffer.from(one.publicKey), format: 'der', type: 'spki' });
  t.is(der.asymmetricKeyDetails?.namedCurve, 'prime256v1');
});

test('its header says no more than JWT-SVID §2 allows', async (t) => {
  const { mint } = await world();
  const { token } = await mint(request());
  t.deepEqual(Object.keys(decodeProtectedHeader(token)).sort(), ['alg', 'kid', 'typ']);
});
