import { generateKeyPairSync } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { JWTPayload } from 'jose';
import { errorCodeOf } from '../../src/errors.ts';
import { OidcProvider } from '../../src/sign-in/oidc-provider.ts';
import { freePort } from '../support/free-port.ts';
import { type ProviderOptions, signInAtProvider, startOpenIdProvider } from '../support/openid-provider.ts';
import {
  CLIENT_ID,
  type ForgingProvider,
  seconds,
  signed,
  startForgingProvider,
} from './forging-provider.ts';

const CALLBACK = 'http://127.0.0.1:9/v1/session/oidc/callback';
const CHECKS = { state: 's'.repeat(43), nonce: 'n'.repeat(43), verifier: 'v'.repeat(43) };
const RULES = {
  nameClaim: 'email',
  roleClaim: 'groups',
  mappings: [{ role: 'admin', value: 'platform' }],
} as const;
const ANN = { email: 'ann@example.com', email_verified: true, groups: ['platform', 'others'] };

/** A real provider, and us as its client. */
async function start(t: ExecutionContext, options: Partial<ProviderOptions> = {}) {
  const provider = await startOpenIdProvider({ redirectUris: [CALLBACK], people: { ann: ANN }, ...options });
  t.teardown(() => provider.close());
  const { issuer, clientId, clientSecret } = provider;
  const client = new OidcProvider({
    issuer,
    clientId,
    clientSecret,
    scope: 'openid email',
    rules: RULES,
    clock: Date.now,
  });
  const signIn = async (name: string) =>
    new URL(await signInAtProvider(await client.begin(CALLBACK, CHECKS), name));
  return { provider, client, signIn };
}

for (const claimsInIdToken of [true, false])
  test(`a person is known by the claims ${claimsInIdToken ? 'of the ID token' : 'at the UserInfo endpoint'}`, async (t) => {
    const { client, signIn, provider } = await start(t, { claimsInIdToken });
    const person = await client.finish(await signIn('ann'), CHECKS);
    t.like(person, { roles: ['admin'], subject: 'ann', issuer: provider.issuer });
    t.regex(person.actor, /^operator:ann@example\.com~[0-9a-f]{12}$/);
  });

test('a code is good once', async (t) => {
  const { client, signIn } = await start(t);
  const back = await signIn('ann');
  await client.finish(back, CHECKS);
  await t.throwsAsync(client.finish(back, CHECKS), { code: 'unauthenticated' });
});

test('a code that has expired is refused', async (t) => {
  const { client, signIn } = await start(t, { codeSeconds: 1 });
  const back = await signIn('ann');
  await pause(2100);
  await t.throwsAsync(client.finish(back, CHECKS), { code: 'unauthenticated' });
});

for (const check of ['state', 'nonce', 'verifier'] as const)
  test(`an answer to another browser is refused by its ${check}`, async (t) => {
    const { client, signIn } = await start(t);
    const back = await signIn('ann');
    const other = { ...CHECKS, [check]: 'o'.repeat(43) };
    const error = await t.throwsAsync(client.finish(back, other), { code: 'unauthenticated' });
    t.false(error?.message.includes(back.searchParams.get('code') ?? '-'));
  });

test('an answer of another issuer is refused (RFC 9207)', async (t) => {
  const { client, signIn } = await start(t);
  const back = await signIn('ann');
  back.searchParams.set('iss', 'https://evil.example');
  await t.throwsAsync(client.finish(back, CHECKS), { code: 'unauthenticated' });
});

test('who refuses at the provider is told so', async (t) => {
  const { client, provider } = await start(t);
  const back = new URL(CALLBACK);
  for (const [name, value] of Object.entries({
    error: 'access_denied',
    state: CHECKS.state,
    iss: provider.issuer,
  }))
    back.searchParams.set(name, value);
  await t.throwsAsync(client.finish(back, CHECKS), { code: 'unauthenticated', message: /access_denied/ });
});

async function startForged(t: ExecutionContext) {
  const provider = await startForgingProvider(CHECKS.nonce);
  t.teardown(() => provider.close());
  const client = new OidcProvider({
    issuer: provider.issuer,
    clientId: CLIENT_ID,
    clientSecret: 'x'.repeat(32),
    scope: 'openid',
    rules: RULES,
    clock: Date.now,
  });
  const finish = () => client.finish(new URL(`${CALLBACK}?code=c&state=${CHECKS.state}`), CHECKS);
  return { provider, client, finish };
}

test('an ID token of its own is taken', async (t) => {
  const { finish } = await startForged(t);
  t.deepEqual((await finish()).roles, ['admin']);
});

const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
type Forge = (claims: JWTPayload, provider: ForgingProvider) => Promise<string>;
const by =
  (changes: Readonly<Record<string, unknown>>): Forge =>
  (claims, { keys }) =>
    signed({ ...claims, ...changes }, keys.privateKey);
const FORGED: readonly [title: string, forge: Forge][] = [
  ['for another audience', by({ aud: 'another' })],
  ['for two, without saying which asked', by({ aud: [CLIENT_ID, 'another'] })],
  ['of another issuer', by({ iss: 'https://evil.example' })],
  ['with another nonce', by({ nonce: 'o'.repeat(43) })],
  ['without a nonce', by({ nonce: undefined })],
  ['that has expired', by({ iat: seconds(-900), exp: seconds(-600) })],
  ['without an end', by({ exp: undefined })],
  ['without a subject', by({ sub: undefined })],
  ['signed by somebody else', (claims) => signed(claims, stranger)],
  [
    'signed with our own secret (HS256)',
    (claims) => signed(claims, new TextEncoder().encode('x'.repeat(32)), 'HS256'),
  ],
  [
    'signed with the public key as a secret',
    (claims, { keys }) =>
      signed(claims, keys.publicKey.export({ type: 'spki', format: 'der' }) as Uint8Array, 'HS256'),
  ],
  ['without a signature (alg none)', async (claims) => `${part({ alg: 'none' })}.${part(claims)}.`],
  [
    'whose claims were changed after its signature',
    async (claims, { keys }) => {
      const [head, , signature] = (await signed(claims, keys.privateKey)).split('.');
      return `${head}.${part({ ...claims, sub: 'root' })}.${signature}`;
    },
  ],
  ['that is none', async () => 'hunter2'],
];

for (const [title, forge] of FORGED)
  test(`refuses an ID token ${title}`, async (t) => {
    const { provider, finish } = await startForged(t);
    provider.idToken = (claims) => forge(claims, provider);
    await t.throwsAsync(finish(), { code: 'unauthenticated' });
  });

test('a discovery document of another issuer is refused', async (t) => {
  const { provider, finish } = await startForged(t);
  provider.metadata = { issuer: 'https://evil.example' };
  await t.throwsAsync(finish(), { code: 'unauthenticated' });
});

test('a provider that answers without end, redirects or fails is given up, and asked again next time', async (t) => {
  const { provider, client } = await startForged(t);
  const endless = 'x'.repeat(300 * 1024);
  for (const [code, instead] of [
    ['too_large', (response) => response.end(endless)],
    ['unauthenticated', (response) => response.writeHead(302, { location: '/elsewhere' }).end()],
    ['unauthenticated', (response) => response.end('not JSON')],
    ['unavailable', (response) => response.destroy()],
  ] as const satisfies [
    string,
    (response: Parameters<NonNullable<ForgingProvider['instead']>>[1]) => unknown,
  ][]) {
    provider.instead = (_path, response) => instead(response) !== undefined || true;
    const error = await t.throwsAsync(client.begin(CALLBACK, CHECKS));
    t.is(errorCodeOf(error), code);
  }
  provider.instead = null;
  t.true((await client.begin(CALLBACK, CHECKS)).startsWith(provider.issuer));
});

test('a provider that is away is unavailable', async (t) => {
  const client = new OidcProvider({
    issuer: `http://127.0.0.1:${await freePort()}`,
    clientId: CLIENT_ID,
    clientSecret: null,
    scope: 'openid',
    rules: RULES,
    clock: Date.now,
  });
  await t.throwsAsync(client.begin(CALLBACK, CHECKS), { code: 'unavailable' });
});

function part(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}
