import { generateKeyPairSync } from 'node:crypto';
import test from 'ava';
import { errorCodeOf } from '../../src/errors.ts';
import { claimOfCsr, csrOf, derOfCsr, ttlOfCsr } from '../../src/kubernetes/csr.ts';
import {
  beginRefreshAt,
  podCertificateRequestOf,
  ttlOfPodCertificate,
} from '../../src/kubernetes/pod-certificate.ts';
import { faultOf, type PodClaim } from '../../src/kubernetes/pod-claim.ts';
import { buildCsr } from '../../src/x509/build-csr.ts';
import { encodePem } from '../../src/x509/pem.ts';

const PEM = encodePem('CERTIFICATE REQUEST', buildCsr(generateKeyPairSync('ec', { namedCurve: 'P-256' })));
const EXTRA = {
  'authentication.kubernetes.io/pod-name': ['web-1'],
  'authentication.kubernetes.io/pod-uid': ['u-1'],
  'authentication.kubernetes.io/node-name': ['n-1'],
};

function csr(spec: object = {}, status: object = {}) {
  const found = csrOf({
    metadata: { name: 'c', uid: '1' },
    spec: {
      username: 'system:serviceaccount:shop:cart',
      extra: EXTRA,
      request: Buffer.from(PEM).toString('base64'),
      usages: ['client auth'],
      ...spec,
    },
    status,
  });
  if (found === null) throw new Error('it is answered');
  return found;
}

test('who asks is the pod that the token is bound to', (t) => {
  t.deepEqual(claimOfCsr(csr()), {
    namespace: 'shop',
    serviceAccount: 'cart',
    podName: 'web-1',
    podUid: 'u-1',
    node: 'n-1',
  });
});

const NOT_A_POD: [why: string, spec: object][] = [
  ['a person', { username: 'ann' }],
  ['a node', { username: 'system:node:n-1' }],
  ['a name that only begins like a service account', { username: 'system:serviceaccount:shop:cart:x' }],
  ['a token bound to nothing', { extra: {} }],
  ['a token of two pods', { extra: { ...EXTRA, 'authentication.kubernetes.io/pod-uid': ['u-1', 'u-2'] } }],
];
for (const [why, spec] of NOT_A_POD)
  test(`a request of ${why} is refused`, (t) => {
    t.is(errorCodeOf(t.throws(() => claimOfCsr(csr(spec)))), 'permission_denied');
  });

const BAD: [why: string, spec: object, code: string][] = [
  ['for signing certificates', { usages: ['cert sign'] }, 'invalid_argument'],
  ['for key encipherment', { usages: ['client auth', 'key encipherment'] }, 'invalid_argument'],
  ['that is no PEM', { request: Buffer.from('x').toString('base64') }, 'csr_malformed'],
  ['of two', { request: Buffer.from(PEM + PEM).toString('base64') }, 'csr_malformed'],
];
for (const [why, spec, code] of BAD)
  test(`a request ${why} is refused`, (t) => {
    t.is(errorCodeOf(t.throws(() => derOfCsr(csr(spec)))), code as never);
  });

test('a request that is answered is looked at no more', (t) => {
  for (const status of [
    { certificate: 'eA==' },
    { conditions: [{ type: 'Denied' }] },
    { conditions: [{ type: 'Approved' }, { type: 'Failed' }] },
  ])
    t.is(csrOf({ metadata: { name: 'c', uid: '1' }, spec: { request: '' }, status }), null);
  t.true(csr({}, { conditions: [{ type: 'Approved' }] }).approved);
});

test('expirationSeconds shortens what is granted, and never lengthens it', (t) => {
  t.is(ttlOfCsr(csr({ expirationSeconds: 600 }), 3600), 600);
  t.is(ttlOfCsr(csr({ expirationSeconds: 86_400 }), 3600), 3600);
  t.is(ttlOfCsr(csr(), 3600), 3600);
});

const CLAIM: PodClaim = {
  namespace: 'shop',
  podName: 'web-1',
  podUid: 'u-1',
  serviceAccount: 'cart',
  node: 'n-1',
};
const POD = {
  namespace: 'shop',
  name: 'web-1',
  uid: 'u-1',
  serviceAccount: 'cart',
  node: 'n-1',
  labels: {},
  ended: false,
};

test('the pod must be the very one that is claimed, on its node, and not have ended', (t) => {
  t.is(faultOf(CLAIM, POD), null);
  t.is(faultOf({ ...CLAIM, node: null }, POD), null, 'a token may be older than the choice of a node');
  const others = [
    null,
    { ...POD, uid: 'u-2' },
    { ...POD, serviceAccount: 'x' },
    { ...POD, node: 'n-2' },
    { ...POD, node: null },
    { ...POD, ended: true },
  ];
  for (const other of others) t.is(typeof faultOf(CLAIM, other), 'string', JSON.stringify(other));
});

function podRequest(maxExpirationSeconds: number) {
  const found = podCertificateRequestOf({
    metadata: { namespace: 'shop', name: 'r', uid: '1' },
    spec: {
      podName: 'web-1',
      podUID: 'u-1',
      serviceAccountName: 'cart',
      nodeName: 'n-1',
      maxExpirationSeconds,
      pkixPublicKey: '',
      proofOfPossession: '',
    },
  });
  if (found === null) throw new Error('it is answered');
  return found;
}

test('the whole life of a pod certificate is at least an hour and at most what is asked for', (t) => {
  t.is(ttlOfPodCertificate(podRequest(86_400), 7_200, 30), 7_200);
  t.is(ttlOfPodCertificate(podRequest(3_600), 7_200, 30), 3_570);
  t.is(ttlOfPodCertificate(podRequest(86_400), 3_570, 30), 3_570);
  const error = t.throws(() => ttlOfPodCertificate(podRequest(86_400), 3_569, 30));
  t.is(errorCodeOf(error), 'invalid_argument');
});

test('a pod certificate is refreshed at half of its life, and not within 10 minutes of its ends', (t) => {
  const notBefore = new Date(0);
  t.is(beginRefreshAt({ notBefore, notAfter: new Date(7_200_000) }).getTime(), 3_600_000);
  const short = t.throws(() => beginRefreshAt({ notBefore, notAfter: new Date(3_599_000) }));
  t.is(errorCodeOf(short), 'authority_unavailable');
});
