import { createHmac } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import test, { type ExecutionContext } from 'ava';
import { base64url, type JWTPayload } from 'jose';
import { createOidcAttestor, type OidcIssuer } from '../../../src/attestation/node/oidc.ts';
import { discoveredKeys, keysAt, keysInFile } from '../../../src/attestation/node/token-keys.ts';
import type { TokenUses } from '../../../src/attestation/node/token-uses.ts';
import { MachineCa } from '../machine-ca.ts';
import { AUDIENCE, Issuer, neverAsked } from './issuer.ts';

const FAILED = { code: 'attestation_failed' };
const HOUR = 3600;
const CLAIMS: JWTPayload = {
  sub: 'instance-7',
  jti: 'one',
  google: { compute_engine: { instance_id: 'i-7', project_id: 'shop', zone: 'europe-west6-a' } },
  groups: ['front', 'web'],
};

const ca = new MachineCa();
test.after.always(() => ca.remove());

async function startIssuer(t: ExecutionContext, identity?: ConstructorParameters<typeof Issuer>[0]) {
  const issuer = new Issuer(identity);
  t.teardown(() => issuer.server.close());
  return issuer.start();
}

function configOf(issuer: Issuer, changes: Partial<OidcIssuer> = {}): OidcIssuer {
  return {
    name: 'cloud',
    namePrefix: '',
    issuer: issuer.url,
    audience: AUDIENCE,
    maxAgeSeconds: HOUR,
    keys: discoveredKeys(issuer.url, null),
    algorithms: ['RS256', 'ES256'],
    nodeName: '/google/compute_engine/instance_id',
    selectors: { project: '/google/compute_engine/project_id', group: 'groups', nothing: 'nothing' },
    required: { '/google/compute_engine/project_id': ['shop', 'shop-staging'] },
    reattestable: true,
    ...changes,
  };
}

function rememberedUses(): TokenUses & { readonly ends: Map<string, number> } {
  const ends = new Map<string, number>();
  return {
    ends,
    isFirst: async (sha256, until) => {
      const key = Buffer.from(sha256).toString('hex');
      const isFirst = !ends.has(key);
      if (isFirst) ends.set(key, until);
      return isFirst;
    },
  };
}

function attestorOf(configs: readonly OidcIssuer[], clock = Date.now) {
  const attestor = createOidcAttestor(configs, rememberedUses(), clock);
  return (token: string) => attestor.attest(Buffer.from(token), neverAsked);
}

test('a token of the issuer, for us, with what is required, is the node that its claim names', async (t) => {
  const issuer = await startIssuer(t);
  const attest = attestorOf([configOf(issuer, { namePrefix: 'cloud-' })]);
  const { name, selectors, evidence, reattestable } = await attest(`${await issuer.sign(CLAIMS)}\n`);
  t.is(name, 'cloud-i-7');
  t.true(reattestable);
  t.deepEqual(selectors, [
    'node:oidc:group:front',
    'node:oidc:group:web',
    'node:oidc:issuer:cloud',
    'node:oidc:project:shop',
  ]);
  t.like(evidence, { issuer: issuer.url, subject: 'instance-7', token_id: 'one' });
  t.deepEqual(
    issuer.server.asked.map((one) => one.split(' ')[1]),
    ['/.well-known/openid-configuration', '/keys'],
  );
});

test('keys are asked for once', async (t) => {
  const issuer = await startIssuer(t);
  const attest = attestorOf([configOf(issuer)]);
  for (let i = 0; i < 20; i++) await attest(await issuer.sign(CLAIMS));
  t.is(issuer.server.asked.length, 2);
});

test('keys may be in a file, or at an address behind a CA of its own', async (t) => {
  const root = ca.root('/CN=issuer');
  const identity = ca.issue(root, { subject: '/CN=issuer', extensions: ['subjectAltName=IP:127.0.0.1'] });
  const issuer = await startIssuer(t, identity);
  const file = ca.write(JSON.stringify(issuer.documents.get('/keys')));
  const keysUrl = new URL(`${issuer.url}/keys`);
  const token = await issuer.sign(CLAIMS);
  for (const keys of [
    keysInFile(file),
    keysAt(keysUrl, root.certificate),
    discoveredKeys(issuer.url, root.certificate),
  ])
    t.is((await attestorOf([configOf(issuer, { keys })])(token)).name, 'i-7');
  await t.throwsAsync(attestorOf([configOf(issuer, { keys: keysAt(keysUrl, null) })])(token), {
    code: 'unavailable',
  });
  t.throws(() => keysInFile(ca.write('{"keys": 1}')), { code: 'config_invalid' });
  const keys = keysInFile(file);
  writeFileSync(file, '{"keys"');
  await t.throwsAsync(attestorOf([configOf(issuer, { keys })])(token), { code: 'unavailable' });
});

for (const [claim, claims, code, says] of [
  ['for another audience', { aud: 'vault' }, 'node_token_audience', /is for "vault", and not for carnet/],
  ['for nobody', { aud: undefined }, 'node_token_audience', /is for ""/],
  ['that has expired', { iat: -HOUR, exp: -600 }, 'node_token_expired', /expired at/],
  ['that is old', { iat: -2 * HOUR }, 'node_token_expired', /none older than 1h is taken/],
  ['that never ends', { exp: undefined }, 'attestation_failed', /does not say when/],
  ['that was issued at no time', { iat: undefined }, 'attestation_failed', /does not say when/],
  ['of the future', { iat: 600 }, 'attestation_failed', /which is to come/],
  ['that is not valid yet', { nbf: 300 }, 'attestation_failed', /not valid before/],
  [
    'of another issuer',
    { iss: 'https://other.example' },
    'attestation_failed',
    /"https:\/\/other.example" is none of ours/,
  ],
  [
    'without what is required',
    { google: {} },
    'attestation_failed',
    /no claim \/google\/compute_engine\/project_id/,
  ],
  [
    'with another value than is required',
    { google: { compute_engine: { instance_id: 'i-7', project_id: 'evil' } } },
    'attestation_failed',
    /is "evil", and none of shop, shop-staging/,
  ],
  [
    'with a list where one value is required',
    { google: { compute_engine: { instance_id: 'i-7', project_id: ['shop', 'evil'] } } },
    'attestation_failed',
    /not one value/,
  ],
  [
    'without the claim that names the node',
    { google: { compute_engine: { project_id: 'shop' } } },
    'attestation_failed',
    /to name the node after/,
  ],
  [
    'whose claim is no node name',
    { google: { compute_engine: { instance_id: '../i-7', project_id: 'shop' } } },
    'attestation_failed',
    /is not a node's name/,
  ],
] satisfies [string, Record<string, unknown>, string, RegExp][])
  test(`refuses a token ${claim}: ${code}`, async (t) => {
    const issuer = await startIssuer(t);
    const now = Math.floor(Date.now() / 1000);
    const changed = Object.fromEntries(
      Object.entries(claims).map(([name, value]) => [name, typeof value === 'number' ? now + value : value]),
    );
    const token = await issuer.sign({ ...CLAIMS, ...changed });
    await t.throwsAsync(attestorOf([configOf(issuer)])(token), { code, message: says });
  });

test("refuses a token by a key that is not the issuer's, by no key, or by a shared secret (RFC 8725 §3.1)", async (t) => {
  const issuer = await startIssuer(t);
  const attest = attestorOf([configOf(issuer)]);
  const [header = '', claims = '', signature = ''] = (await issuer.sign(CLAIMS)).split('.');
  const stranger = await startIssuer(t);
  stranger.url = issuer.url;
  const forged = Buffer.from(JSON.stringify({ alg: 'HS256', kid: 'first' })).toString('base64url');
  const mac = createHmac('sha256', JSON.stringify(issuer.documents.get('/keys'))).update(
    `${forged}.${claims}`,
  );
  const none = base64url.encode(JSON.stringify({ alg: 'none' }));
  for (const token of [
    await stranger.sign(CLAIMS),
    `${header}.${claims}.${signature.replace(/^./, (one) => (one === 'A' ? 'B' : 'A'))}`,
    `${header}.${base64url.encode(JSON.stringify({ iss: issuer.url }))}.${signature}`,
    `${forged}.${claims}.${mac.digest('base64url')}`,
    `${none}.${claims}.AA`,
  ])
    await t.throwsAsync(attest(token), FAILED);
});

test("refuses an algorithm that is not on the list, though the key is the issuer's", async (t) => {
  const issuer = await startIssuer(t);
  await issuer.rotate('second', 'ES384');
  const token = await issuer.sign(CLAIMS, { kid: 'second', alg: 'ES384' });
  await t.throwsAsync(attestorOf([configOf(issuer)])(token), { ...FAILED, message: /none of RS256, ES256/ });
});

test('refuses a token that names no key where several could have signed it', async (t) => {
  const issuer = await startIssuer(t);
  await issuer.rotate('second');
  const token = await issuer.sign(CLAIMS, { named: false });
  await t.throwsAsync(attestorOf([configOf(issuer)])(token), { ...FAILED, message: /it names no key/ });
});

for (const [claim, payload] of [
  ['is empty', ''],
  ['is no JWT', 'hello'],
  ['has a part too many', 'a.b.c.d'],
  ['is not base64url', 'e30.é.e30'],
  ['holds no JSON', 'aGVsbG8.aGVsbG8.aGVsbG8'],
  ['is too long', `${'a'.repeat(20_000)}.b.c`],
] as const)
  test(`refuses a payload that ${claim}`, async (t) => {
    const issuer = await startIssuer(t);
    await t.throwsAsync(attestorOf([configOf(issuer)])(payload), FAILED);
    t.deepEqual(issuer.server.asked, []);
  });

test('a token that is for one attestation is used up by it, by its ID or by what was signed', async (t) => {
  const issuer = await startIssuer(t);
  const attest = attestorOf([configOf(issuer, { reattestable: false })]);
  const token = await issuer.sign(CLAIMS);
  t.false((await attest(token)).reattestable);
  await t.throwsAsync(attest(token), { code: 'node_token_used' });
  await t.throwsAsync(attest(await issuer.sign({ ...CLAIMS, sub: 'again' })), { code: 'node_token_used' });
  const nameless = await issuer.sign({ ...CLAIMS, jti: undefined as never });
  await attest(nameless);
  await t.throwsAsync(attest(nameless), { code: 'node_token_used' });
  await attest(await issuer.sign({ ...CLAIMS, jti: 'two' }));
});

test('a use is remembered for as long as the token could be taken, and no longer', async (t) => {
  const issuer = await startIssuer(t);
  const iat = Math.floor(Date.now() / 1000);
  const uses = rememberedUses();
  const attestor = createOidcAttestor([configOf(issuer, { reattestable: false })], uses, Date.now);
  const attest = async (claims: object) =>
    attestor.attest(Buffer.from(await issuer.sign({ ...CLAIMS, ...claims })), neverAsked);
  await attest({ jti: 'short', iat, exp: iat + 60 });
  await attest({ jti: 'long', iat, exp: iat + 1e9 });
  // With 30 s of leeway for clocks.
  t.deepEqual([...uses.ends.values()], [(iat + 90) * 1000, (iat + HOUR + 30) * 1000]);
});

test('a token that was refused is not used up', async (t) => {
  const issuer = await startIssuer(t);
  const token = await issuer.sign(CLAIMS);
  const uses = rememberedUses();
  const attestBy = (config: OidcIssuer) =>
    createOidcAttestor([config], uses, Date.now).attest(Buffer.from(token), neverAsked);
  await t.throwsAsync(attestBy(configOf(issuer, { reattestable: false, required: { sub: ['x'] } })), FAILED);
  await t.notThrowsAsync(attestBy(configOf(issuer, { reattestable: false })));
});

for (const [claim, document] of [
  [
    'is of another issuer (OpenID Connect Discovery §4.3)',
    { issuer: 'https://other.example', jwks_uri: 'https://other.example/keys' },
  ],
  ['has no keys', { issuer: 'ITSELF' }],
  [
    'has its keys where anybody could change them',
    { issuer: 'ITSELF', jwks_uri: 'http://keys.example/keys' },
  ],
  ['is not there', undefined],
] as const)
  test(`nobody is let in by a discovery document that ${claim}, nor is the token blamed`, async (t) => {
    const issuer = await startIssuer(t);
    const text = document && JSON.parse(JSON.stringify(document).replace('ITSELF', issuer.url));
    issuer.documents.set('/.well-known/openid-configuration', text);
    const token = await issuer.sign(CLAIMS);
    await t.throwsAsync(attestorOf([configOf(issuer)])(token), { code: 'unavailable' });
  });

test('an issuer that is away is asked again later, and what it told before counts meanwhile', async (t) => {
  const issuer = await startIssuer(t);
  const attest = attestorOf([configOf(issuer)]);
  const token = await issuer.sign(CLAIMS);
  await attest(token);
  await issuer.server.close();
  t.is((await attest(token)).name, 'i-7');
});
