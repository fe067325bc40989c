import { createHash, X509Certificate } from 'node:crypto';
import { credentials, status } from '@grpc/grpc-js';
import test from 'ava';
import { createRemoteJWKSet, decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import {
  type JWTSVIDResponse,
  SpiffeWorkloadAPIClient,
  type ValidateJWTSVIDResponse,
  type X509SVIDResponse,
} from '../../src/gen/workload.ts';
import { DerReader } from '../../src/x509/der-reader.ts';
import { TAG } from '../../src/x509/der-tag.ts';
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

test.serial(
  'a root rotation counts a program on the Workload API, holds for it, and breaks none of its handshakes',
  async (t) => {
    t.timeout(300_000);
    await using carnet = await startCarnet(['--leaf-ttl', '15s', '--rotation-hold', '3s']);
    await register(carnet, 'web', '/web', 'internal');
    const client = clientOf(carnet);
    const messages: Snapshot[] = [];
    const stream = client.fetchX509Svid({}, header());
    stream.on('data', (message) => void messages.push(snapshotOf(message)));
    const ended = new Promise<void>((resolve) => stream.once('error', () => resolve()));
    await until('it has its identity', () => messages.length > 0);
    const [old = ''] = messages[0]?.roots ?? [];
    await carnet.call('POST', '/v1/rotations', { kind: 'root', reason: 'test' });
    const waits = new Set<string>();
    await until('the old root is gone', async () => {
      const { items } = (await carnet.call('GET', '/v1/rotations')) as Rotations;
      for (const { laggards } of items) for (const { why } of laggards) waits.add(why);
      return items.length === 0 && messages.at(-1)?.roots.includes(old) === false;
    });
    stream.cancel();
    await ended;
    client.close();
    t.true(waits.has('cannot acknowledge, and is held for'), [...waits].join());
    const renewed = messages.findIndex(({ root }) => root !== old);
    const told = messages.findIndex(({ roots }) => roots.length === 2);
    t.log(
      `told of the new root by message ${told}, given a leaf under it by message ${renewed} of ${messages.length}`,
    );
    t.true(told > 0 && told < renewed);
    // Whatever two programs hold of what was said, one message apart, each accepts the other.
    for (const [i, { root, roots }] of messages.entries()) {
      t.true(roots.includes(root));
      for (const other of [messages[i - 1], messages[i + 1]]) t.true(other?.roots.includes(root) ?? true);
    }
  },
);

interface Rotations {
  readonly items: readonly { readonly laggards: readonly { readonly why: string }[] }[];
}

/** What one message says of roots: SHA-256 fingerprints of those that are trusted, and of the one that the leaf chains to. */
interface Snapshot {
  readonly root: string;
  readonly roots: readonly string[];
}

function snapshotOf({ svids }: X509SVIDResponse): Snapshot {
  const [svid] = svids;
  if (svid === undefined) throw new Error('a message without an identity');
  const [leaf, issuing] = certificatesOf(svid.x509Svid);
  const roots = certificatesOf(svid.bundle);
  const root = roots.find(({ publicKey }) => issuing?.verify(publicKey));
  if (issuing === undefined || leaf?.verify(issuing.publicKey) !== true || root === undefined)
    throw new Error('a leaf that its own bundle does not verify');
  return { root: root.fingerprint256, roots: roots.map(({ fingerprint256 }) => fingerprint256) };
}

/** Certificates one after the other, DER. */
function certificatesOf(der: Uint8Array): X509Certificate[] {
  const reader = new DerReader(der);
  const found: X509Certificate[] = [];
  while (!reader.done) found.push(new X509Certificate(reader.element(TAG.sequence)));
  return found;
}

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
