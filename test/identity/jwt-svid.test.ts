import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import test from 'ava';
import fc from 'fast-check';
import { SignJWT } from 'jose';
import { CarnetError } from '../../src/errors.ts';
import { JWS_ALGORITHMS, type JwsAlgorithm } from '../../src/identity/jws-algorithm.ts';
import { encodeSigningInput, keyIdOf, MAX_TOKEN_BYTES, verifyJwtSvid } from '../../src/identity/jwt-svid.ts';
import { parseSpiffeId } from '../../src/identity/spiffe-id.ts';
import type { JwtAuthority } from '../../src/identity/trust-bundle.ts';

const NOW = Date.UTC(2026, 5, 1);
const SECONDS = NOW / 1000;
const SUB = parseSpiffeId('spiffe://carnet.local/web');
const GOOD = { sub: SUB, aud: ['reports'], exp: SECONDS + 300, iat: SECONDS, jti: 'a' };
const EC = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const RSA = generateKeyPairSync('rsa', { modulusLength: 2048 });
const KEYS = {
  ES256: EC,
  ES384: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  ES512: generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  RS256: RSA,
  RS384: RSA,
  RS512: RSA,
  PS256: RSA,
  PS384: RSA,
  PS512: RSA,
} as const satisfies Record<JwsAlgorithm, { publicKey: KeyObject }>;

function authority({ publicKey }: { publicKey: KeyObject }, keyId = 'jwt-1'): JwtAuthority {
  return { keyId, publicKey: publicKey.export({ format: 'der', type: 'spki' }) };
}

function verify(token: string, keys: readonly JwtAuthority[] = [authority(EC)], audience = 'reports') {
  return verifyJwtSvid(token, {
    audience,
    keysOf: (domain) => (domain === 'carnet.local' ? keys : undefined),
    now: NOW,
  });
}

/** Signed by `EC` whatever its header says. */
function token(header: object, claims: object | string = GOOD): string {
  const text = [header, claims]
    .map((part) => Buffer.from(typeof part === 'string' ? part : JSON.stringify(part)).toString('base64url'))
    .join('.');
  const signature = sign('sha256', Buffer.from(text), { key: EC.privateKey, dsaEncoding: 'ieee-p1363' });
  return `${text}.${signature.toString('base64url')}`;
}

for (const alg of JWS_ALGORITHMS)
  test(`accepts what jose signs by ${alg} (JWT-SVID §2.1)`, async (t) => {
    const keys = KEYS[alg];
    const jwt = await new SignJWT(GOOD).setProtectedHeader({ alg, kid: 'jwt-1' }).sign(keys.privateKey);
    const { spiffeId, claims } = verify(jwt, [authority(keys)]);
    t.is(spiffeId, SUB);
    t.deepEqual(claims, GOOD);
    t.is(keyIdOf(jwt), 'jwt-1');
  });

test('accepts a token without a key ID, by any key of the trust domain (§2.2)', (t) => {
  t.is(verify(token({ alg: 'ES256' }), [authority(RSA, 'a'), authority(EC, 'b')]).spiffeId, SUB);
});

test('accepts one of several audiences, a single one as text, and clocks that differ by seconds', (t) => {
  const header = { alg: 'ES256', kid: 'jwt-1', typ: 'JWT' };
  for (const claims of [
    { aud: ['other', 'reports'] },
    { aud: 'reports' },
    { exp: SECONDS - 5 },
    { iat: SECONDS + 5 },
  ])
    t.is(verify(token(header, { ...GOOD, ...claims })).spiffeId, SUB);
});

test('what we encode is what jose would', (t) => {
  const [header, payload] = encodeSigningInput('ES256', 'jwt-1', GOOD).split('.');
  const decode = (part = ''): unknown => JSON.parse(Buffer.from(part, 'base64url').toString());
  t.deepEqual([decode(header), decode(payload)], [{ alg: 'ES256', kid: 'jwt-1', typ: 'JWT' }, GOOD]);
});

const HEADER = { alg: 'ES256', kid: 'jwt-1', typ: 'JWT' };
const hmac = Buffer.from(authority(EC).publicKey).toString('base64');

for (const [what, jwt, keys, audience] of [
  ['alg none', token({ ...HEADER, alg: 'none' })],
  ['alg none without a signature', `${encodeSigningInput('ES256', 'jwt-1', GOOD)}.`],
  ['HS256, with our public key as its secret', token({ ...HEADER, alg: 'HS256', jwk: hmac })],
  ['EdDSA, which JWT-SVID does not know', token({ ...HEADER, alg: 'EdDSA' })],
  ['no algorithm', token({ kid: 'jwt-1' })],
  ['ES384 by a P-256 key', token({ ...HEADER, alg: 'ES384' })],
  ['RS256 by an EC key', token({ ...HEADER, alg: 'RS256' })],
  ['another key under our key ID', token(HEADER), [authority(KEYS.ES384)]],
  ['another P-256 key', token(HEADER), [authority(generateKeyPairSync('ec', { namedCurve: 'P-256' }))]],
  ['a key ID that is not known', token({ ...HEADER, kid: 'jwt-2' })],
  ['a key ID that is no text', token({ ...HEADER, kid: 1 })],
  ['no key at all', token(HEADER), []],
  ['a key that the token brings (jwk)', token({ ...HEADER, jwk: EC.publicKey.export({ format: 'jwk' }) })],
  ['a key that the token points to (jku)', token({ ...HEADER, jku: 'https://evil.example/keys' })],
  ['a critical header (RFC 7515 §4.1.11)', token({ ...HEADER, crit: ['x'] })],
  ['another type', token({ ...HEADER, typ: 'at+jwt' })],
  ['another audience', token(HEADER), undefined, 'payments'],
  ['a part of the audience', token(HEADER), undefined, 'report'],
  ['no audience', token(HEADER, { ...GOOD, aud: undefined })],
  ['an empty list of audiences', token(HEADER, { ...GOOD, aud: [] })],
  ['an audience that is no text', token(HEADER, { ...GOOD, aud: [['reports']] })],
  ['no expiration time', token(HEADER, { ...GOOD, exp: undefined })],
  ['an expiration time that is text', token(HEADER, { ...GOOD, exp: String(GOOD.exp) })],
  ['an expiration time that is over', token(HEADER, { ...GOOD, exp: SECONDS - 10 })],
  ['a beginning to come (nbf)', token(HEADER, { ...GOOD, nbf: SECONDS + 11 })],
  ['an issue to come (iat)', token(HEADER, { ...GOOD, iat: SECONDS + 11 })],
  ['no subject', token(HEADER, { ...GOOD, sub: undefined })],
  ['a subject that is no SPIFFE ID', token(HEADER, { ...GOOD, sub: 'web' })],
  ['a subject of another trust domain', token(HEADER, { ...GOOD, sub: 'spiffe://other.example/web' })],
  ['claims that are no object', token(HEADER, '[]')],
  ['claims that are no JSON', token(HEADER, '{')],
  ['two parts', token(HEADER).split('.').slice(0, 2).join('.')],
  ['four parts', `${token(HEADER)}.AA`],
  ['padding', `${token(HEADER)}=`],
  ['nothing', ''],
  ['a token of 16 KiB and a byte', 'a'.repeat(MAX_TOKEN_BYTES + 1)],
] as [string, string, JwtAuthority[]?, string?][])
  test(`refuses ${what}`, (t) => {
    const error = t.throws(() => verify(jwt, keys, audience));
    t.true(error instanceof CarnetError && error.code === 'invalid_argument');
  });

test('a change of any character is refused', (t) => {
  const good = token(HEADER);
  const signed = good.lastIndexOf('.');
  fc.assert(
    fc.property(fc.nat(good.length - 1), fc.constantFrom(...'AZaz09-_.'), (at, letter) => {
      const changed = good.slice(0, at) + letter + good.slice(at + 1);
      // The last character of the signature has bits that say nothing.
      if (changed === good || at === good.length - 1 || at === signed) return;
      t.throws(() => verify(changed));
    }),
  );
});
