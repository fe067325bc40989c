import test, { type ExecutionContext } from 'ava';
import type { JWTPayload } from 'jose';
import type { TokenReview } from '../../../src/attestation/node/bound-token.ts';
import {
  type Cluster,
  createServiceAccountAttestor,
} from '../../../src/attestation/node/service-account-token.ts';
import { keysAt } from '../../../src/attestation/node/token-keys.ts';
import { AUDIENCE, Issuer, neverAsked } from './issuer.ts';

const FAILED = { code: 'attestation_failed' };

/** As kube-apiserver 1.35 writes them for a projected volume. */
const CLAIMS = {
  sub: 'system:serviceaccount:carnet:agent',
  jti: '65057331-4c25-43cf-826c-e4854e83e141',
  'kubernetes.io': {
    namespace: 'carnet',
    serviceaccount: { name: 'agent', uid: 'sa-uid' },
    pod: { name: 'agent-x7', uid: 'pod-uid' },
    node: { name: 'node-1', uid: 'node-uid' },
  },
} satisfies JWTPayload;
const BOUND = CLAIMS['kubernetes.io'];

const REVIEW: TokenReview = {
  username: 'system:serviceaccount:carnet:agent',
  error: null,
  audiences: [AUDIENCE],
  extra: {
    'authentication.kubernetes.io/pod-name': ['agent-x7'],
    'authentication.kubernetes.io/pod-uid': ['pod-uid'],
    'authentication.kubernetes.io/node-name': ['node-1'],
    'authentication.kubernetes.io/node-uid': ['node-uid'],
    'authentication.kubernetes.io/credential-id': ['JTI=65057331-4c25-43cf-826c-e4854e83e141'],
  },
};

async function startIssuer(t: ExecutionContext) {
  const issuer = new Issuer();
  t.teardown(() => issuer.server.close());
  return issuer.start();
}

function clusterOf(issuer: Issuer, changes: Partial<Cluster> = {}): Cluster {
  return {
    name: 'production',
    namePrefix: '',
    issuer: issuer.url,
    audience: AUDIENCE,
    maxAgeSeconds: 3600,
    serviceAccounts: new Set(['carnet/agent']),
    verifier: { keys: keysAt(new URL(`${issuer.url}/keys`), null) },
    ...changes,
  };
}

function attestorOf(...clusters: Cluster[]) {
  const attestor = createServiceAccountAttestor(clusters, Date.now);
  return (token: string) => attestor.attest(Buffer.from(token), neverAsked);
}

for (const [claim, changes] of [
  ["the cluster's keys", {}],
  ["its API server's review", { verifier: { review: () => Promise.resolve(REVIEW) } }],
] satisfies [string, Partial<Cluster>][])
  test(`an agent's pod is the node that it is bound to, by ${claim}`, async (t) => {
    const issuer = await startIssuer(t);
    const attest = attestorOf(clusterOf(issuer, { namePrefix: 'k8s-', ...changes }));
    const token = await issuer.sign(CLAIMS);
    const node = await attest(token);
    t.deepEqual(node, {
      name: 'k8s-node-1',
      selectors: [
        'node:k8s:cluster:production',
        'node:k8s:node-name:node-1',
        'node:k8s:node-uid:node-uid',
        'node:k8s:ns:carnet',
        'node:k8s:pod-name:agent-x7',
        'node:k8s:pod-uid:pod-uid',
        'node:k8s:sa:agent',
      ],
      evidence: {
        cluster: 'production',
        service_account: 'carnet/agent',
        pod_name: 'agent-x7',
        pod_uid: 'pod-uid',
        node_name: 'node-1',
        node_uid: 'node-uid',
      },
      reattestable: true,
    });
    t.deepEqual(await attest(token), node, 'a restarted agent shows it again');
  });

const NOW = Math.floor(Date.now() / 1000);
for (const [claim, claims, code] of [
  ['for the API server', { aud: 'https://kubernetes.default.svc' }, 'node_token_audience'],
  ['that has expired', { iat: NOW - 1200, exp: NOW - 600 }, 'node_token_expired'],
  ['of a year, minted long ago', { iat: NOW - 86_400, exp: NOW + 86_400 * 300 }, 'node_token_expired'],
  [
    'of another service account',
    {
      sub: 'system:serviceaccount:carnet:web',
      'kubernetes.io': { ...BOUND, serviceaccount: { name: 'web', uid: 'x' } },
    },
    'attestation_failed',
  ],
  [
    'of the same name in another namespace',
    { sub: 'system:serviceaccount:evil:agent', 'kubernetes.io': { ...BOUND, namespace: 'evil' } },
    'attestation_failed',
  ],
  ['that says two service accounts', { sub: 'system:serviceaccount:carnet:web' }, 'attestation_failed'],
  ['bound to no pod', { 'kubernetes.io': { ...BOUND, pod: undefined } }, 'attestation_failed'],
  ['bound to no node', { 'kubernetes.io': { ...BOUND, node: undefined } }, 'attestation_failed'],
  ["that is no service account's", { 'kubernetes.io': undefined }, 'attestation_failed'],
] satisfies [string, JWTPayload, string][])
  test(`refuses a token ${claim}, by the cluster's keys: ${code}`, async (t) => {
    const issuer = await startIssuer(t);
    await t.throwsAsync(attestorOf(clusterOf(issuer))(await issuer.sign({ ...CLAIMS, ...claims })), { code });
  });

const EXTRA = REVIEW.extra;
for (const [claim, changes, code, says] of [
  [
    'is not authenticated',
    { username: null, error: 'invalid bearer token' },
    'attestation_failed',
    /invalid bearer token/,
  ],
  ['is authenticated for no audience', { audiences: [] }, 'node_token_audience', /does not say/],
  ['is authenticated for others', { audiences: ['vault'] }, 'node_token_audience', /does not say/],
  ['is of a user', { username: 'ada' }, 'attestation_failed', /"ada", which is no service account/],
  [
    'is of another account',
    { username: 'system:serviceaccount:carnet:web' },
    'attestation_failed',
    /carnet\/web/,
  ],
  [
    'is bound to no node',
    { extra: { ...EXTRA, 'authentication.kubernetes.io/node-name': [] } },
    'attestation_failed',
    /not bound/,
  ],
  [
    'is bound to two pods',
    { extra: { ...EXTRA, 'authentication.kubernetes.io/pod-name': ['a', 'b'] } },
    'attestation_failed',
    /not bound/,
  ],
  ['is bound to nothing', { extra: {} }, 'attestation_failed', /not bound/],
] satisfies [string, Partial<TokenReview>, string, RegExp][])
  test(`refuses a token of which the API server says that it ${claim}: ${code}`, async (t) => {
    const issuer = await startIssuer(t);
    const review = () => Promise.resolve({ ...REVIEW, ...changes });
    const attest = attestorOf(clusterOf(issuer, { verifier: { review } }));
    await t.throwsAsync(attest(await issuer.sign(CLAIMS)), { code, message: says });
  });

test('what could not pass is not shown to the API server', async (t) => {
  const issuer = await startIssuer(t);
  const review = () => Promise.reject(new Error('shown'));
  const attest = attestorOf(clusterOf(issuer, { verifier: { review } }));
  await t.throwsAsync(attest(await issuer.sign({ ...CLAIMS, aud: 'vault' })), {
    code: 'node_token_audience',
  });
  await t.throwsAsync(attest(await issuer.sign({ ...CLAIMS, exp: NOW - 600 })), {
    code: 'node_token_expired',
  });
});

test('each of several clusters vouches for its own nodes', async (t) => {
  const [one, two] = [await startIssuer(t), await startIssuer(t)];
  const attest = attestorOf(
    clusterOf(one, { name: 'one', namePrefix: 'one-' }),
    clusterOf(two, { name: 'two', namePrefix: 'two-' }),
  );
  t.is((await attest(await one.sign(CLAIMS))).name, 'one-node-1');
  t.is((await attest(await two.sign(CLAIMS))).name, 'two-node-1');
  await t.throwsAsync(attest(await one.sign({ ...CLAIMS, iss: two.url })), FAILED);
  await t.throwsAsync(attest(await one.sign({ ...CLAIMS, iss: 'https://three.example' })), FAILED);
});
