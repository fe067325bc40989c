import { createHash } from 'node:crypto';
import { credentials, status } from '@grpc/grpc-js';
import test from 'ava';
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import {
  type JWTSVIDResponse,
  SpiffeWorkloadAPIClient,
  type ValidateJWTSVIDResponse,
} from '../../src/gen/workload.ts';
import { type CarnetProcess, startCarnet } from '../support/carnet.ts';
import { until } from '../support/until.ts';
import { header, Messages, unary } from '../workload-api/harness.ts';

const ISSUER = 'https://carnet.example';
const UID = process.getuid?.() ?? 0;

test.serial(
  'over two rotations of the key no token is refused, by the agent or by jose, and each is on record',
  async (t) => {
    t.timeout(300_000);
    await using carnet = await startCarnet([
      '--jwt-ttl',
      '5s',
      '--jwt-key-hold',
      '2s',
      '--jwt-issuer',
      ISSUER,
    ]);
    await register(carnet, 'web', '/web', 'internal');
    const client = clientOf(carnet);
    // A verifier of the other kind asks for the keys when it meets one that it does not know.
    const keys = createRemoteJWKSet(new URL(`${carnet.url}/keys`), { cooldownDuration: 0 });
    const stop = new AbortController();
    const failures: string[] = [];
    const seen = new Map<string, string>();
    let tokens = 0;
    const verify = async (name: string): Promise<void> => {
      for (let i = 0; !stop.signal.aborted; i++) {
        try {
          const token = await fetchToken(client, `${name}-${i % 20}`);
          const audience = `${name}-${i % 20}`;
          await validate(client, audience, token);
          const { payload } = await jwtVerify(token, keys, { audience, issuer: ISSUER });
          seen.set(String(payload.jti), token);
          tokens++;
        } catch (error) {
          failures.push(String(error));
        }
      }
    };
    const verifiers = ['a', 'b'].map(verify);
    for (let rotation = 0; rotation < 2; rotation++) {
      const before = await signingKey(carnet);
      await carnet.call('POST', '/v1/rotations', { kind: 'jwt', reason: 'test' });
      await until('the new key signs, and the old one is gone', async () => {
        const { items } = (await carnet.call('GET', '/v1/jwt-keys')) as Keys;
        return items.find(({ id }) => id === before)?.state === 'retired';
      });
      t.not(await signingKey(carnet), before);
    }
    stop.abort();
    await Promise.all(verifiers);
    const signers = new Set([...seen.values()].map((token) => decodeProtectedHeader(token).kid));
    t.log(
      `${tokens} tokens fetched and verified, ${seen.size} of them different, by ${signers.size} keys; ${failures.length} failed`,
    );
    t.deepEqual(failures, []);
    t.is(signers.size, 3);
    const [jti = '', token = ''] = [...seen].at(-1) ?? [];
    const recorded = (await carnet.call('GET', `/v1/issuances/${jti}`)) as Recorded;
    t.like(recorded, {
      profile: 'jwt-svid',
      identity: 'spiffe://carnet.local/web',
      certificate: null,
      decoded: null,
    });
    t.deepEqual(recorded.token.claims, decodeJwt(token));
    t.is(recorded.certificate_sha256, createHash('sha256').update(token).digest('hex'));
    t.false(JSON.stringify(recorded).includes(token.split('.')[2] ?? ''));
    t.false(carnet.log().includes(token.split('.')[2] ?? ''));
    client.close();
  },
);

test.serial(
  'a compromised key leaves every verifier within moments, an entry that goes ends its streams, and OpenID Connect finds the keys',
  async (t) => {
    t.timeout(300_000);
    await using carnet = await startCarnet(['--jwt-key-hold', '1h', '--jwt-issuer', ISSUER]);
    await register(carnet, 'web', '/web', 'internal');
    const client = clientOf(carnet);
    const token = await fetchToken(client, 'reports');
    t.like(await validate(client, 'reports', token), { spiffeId: 'spiffe://carnet.local/web' });
    await t.throwsAsync(validate(client, 'payments', token), { code: status.INVALID_ARGUMENT });
    const forged = `${token.slice(0, -20)}${'A'.repeat(20)}`;
    await t.throwsAsync(validate(client, 'reports', forged), { code: status.INVALID_ARGUMENT });

    const configuration = await json(`${carnet.url}/.well-known/openid-configuration`);
    t.like(configuration.body, { issuer: ISSUER, jwks_uri: `${ISSUER}/keys` });
    t.is(configuration.cacheControl, 'public, max-age=300');
    const { body } = await json(`${carnet.url}/keys`);
    const { kid } = decodeProtectedHeader(token);
    t.like(body.keys?.[0], { kid, use: 'sig', alg: 'ES256' });
    const published = await json(`${carnet.url}/v1/bundle`);
    t.deepEqual(
      published.body.keys?.map(({ use }) => use),
      ['x509-svid', 'jwt-svid'],
    );

    const proxies = new Messages(client.fetchX509Svid({}, header()));
    t.is((await proxies.next()).svids[0]?.hint, 'internal');
    const x509Sequence = await sequenceSent(carnet);
    await carnet.call('POST', '/v1/rotations', { kind: 'jwt', taint: true, reason: 'found in a log' });
    await until('the old token is refused', () =>
      validate(client, 'reports', token).then(
        () => false,
        () => true,
      ),
    );
    const next = await fetchToken(client, 'reports');
    t.not(decodeProtectedHeader(next).kid, kid);
    await validate(client, 'reports', next);
    t.is(await sequenceSent(carnet), x509Sequence);

    await carnet.call('DELETE', '/v1/entries/web');
    await carnet.call('DELETE', '/v1/entries/first-user').catch(() => null);
    t.is(await proxies.code(), status.PERMISSION_DENIED);
    await t.throwsAsync(fetchToken(client, 'reports'), { code: status.PERMISSION_DENIED });
    client.close();
  },
);

interface Keys {
  readonly items: readonly { readonly id: string; readonly state: string }[];
}

interface Recorded {
  readonly certificate_sha256: string;
  readonly token: { readonly claims: unknown };
}

function clientOf({ agentSocket }: CarnetProcess): SpiffeWorkloadAPIClient {
  return new SpiffeWorkloadAPIClient(`unix:${agentSocket}`, credentials.createInsecure());
}

/** Narrower than the entry that a first start makes, and so the first. */
async function register(carnet: CarnetProcess, id: string, path: string, hint: string): Promise<void> {
  const selectors = [`unix:uid:${UID}`, `unix:gid:${process.getgid?.() ?? 0}`];
  await carnet.call('POST', '/v1/entries', { id, spiffe_id: path, selectors, hint });
}

async function fetchToken(client: SpiffeWorkloadAPIClient, audience: string): Promise<string> {
  const spiffeId = 'spiffe://carnet.local/web';
  const { svids } = await unary<JWTSVIDResponse>((done) =>
    client.fetchJwtsvid({ audience: [audience], spiffeId }, header(), done),
  );
  return svids[0]?.svid ?? '';
}

function validate(
  client: SpiffeWorkloadAPIClient,
  audience: string,
  svid: string,
): Promise<ValidateJWTSVIDResponse> {
  return unary((done) => client.validateJwtsvid({ audience, svid }, header(), done));
}

async function signingKey(carnet: CarnetProcess): Promise<string | undefined> {
  const { items } = (await carnet.call('GET', '/v1/jwt-keys')) as Keys;
  return items.find(({ state }) => state === 'active')?.id;
}

/** Of the bundle of certificates that the stream was sent last. */
async function sequenceSent(carnet: CarnetProcess): Promise<string | null | undefined> {
  const { items } = (await carnet.call('GET', '/v1/proxies')) as {
    items: { protocol: string; resources: { name: string; version_sent: string | null }[] }[];
  };
  const resources = items.find(({ protocol }) => protocol === 'workload-api')?.resources ?? [];
  return resources.find(({ name }) => name === 'spiffe://carnet.local')?.version_sent;
}

async function json(url: string) {
  const response = await fetch(url);
  return {
    cacheControl: response.headers.get('cache-control'),
    body: (await response.json()) as { keys?: { use: string; kid?: string; alg?: string }[] },
  };
}
