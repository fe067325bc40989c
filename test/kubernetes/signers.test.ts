import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import anyTest, { type TestFn } from 'ava';
import { decodePem, encodePem } from '../../src/x509/pem.ts';
import type { CarnetProcess } from '../support/carnet.ts';
import { clusterMissing } from '../support/kubernetes.ts';
import {
  csrObject,
  type Found,
  newRequest,
  podCertificateSpec,
  SIGNER,
  startWorld,
  type World,
} from './world.ts';

const missing = clusterMissing();
const test = (missing === null ? anyTest : anyTest.skip) as TestFn;
let world: World;
let carnet: CarnetProcess;
if (missing !== null) anyTest(`left out: ${missing}`, (t) => t.pass());
else {
  anyTest.before(async () => {
    world = await startWorld();
    await world.makePod({ name: 'web', labels: { app: 'web' } });
    // What can only be arranged while nobody answers.
    for (const name of ['gone', 'anew']) {
      await world.makePod({ name });
      await world.requestCertificate({ name, pod: name });
      await world.cluster.kubectl('delete', 'pod', name);
    }
    await world.makePod({ name: 'anew' });
    for (const name of ['by-admin', 'approved']) await world.cluster.apply(csrObject({ name }));
    await world.cluster.kubectl('certificate', 'approve', 'approved');
    carnet = await world.start('--leaf-ttl', '2h');
  });
  anyTest.after.always(() => world?.close());
}

/** The leaf of a signed request. */
function leafOf(pem: string): X509Certificate {
  const [leaf] = decodePem('CERTIFICATE', pem);
  if (leaf === undefined) throw new Error('no certificate');
  return new X509Certificate(leaf);
}

function pemOf({ status }: Found): string {
  return status.certificateChain ?? Buffer.from(status.certificate ?? '', 'base64').toString();
}

async function issuanceOf(leaf: X509Certificate): Promise<Record<string, unknown>> {
  return (await carnet.call('GET', `/v1/issuances/${leaf.serialNumber.toLowerCase()}`)) as Record<
    string,
    unknown
  >;
}

test('a pod gets its identity by a CertificateSigningRequest, on record with what vouched for it', async (t) => {
  await world.requestCertificate({ name: 'signed', pod: 'web', expirationSeconds: 600 });
  const answered = await world.answer('csr', 'signed');
  const leaf = leafOf(pemOf(answered));
  t.is(leaf.subjectAltName, 'URI:spiffe://carnet.local/ns/default/sa/default');
  t.is(
    leaf.validToDate.getTime() - leaf.validFromDate.getTime(),
    630_000,
    'expirationSeconds and the backdate',
  );
  t.deepEqual(
    answered.status.conditions?.map(({ type }) => type),
    ['Approved'],
  );
  const issuance = await issuanceOf(leaf);
  const pod = await world.find('pod', 'web');
  t.like(issuance, {
    requester: 'kubernetes:csr/signed',
    node: 'n1',
    instance: `pod:${pod?.metadata.uid}`,
    evidence: {
      kubernetes: {
        namespace: 'default',
        pod: 'web',
        service_account: 'default',
        request: { kind: 'CertificateSigningRequest', username: 'system:serviceaccount:default:default' },
      },
    },
  });
});

test('a life longer than what is granted is cut to it', async (t) => {
  await world.requestCertificate({ name: 'long', pod: 'web', expirationSeconds: 86_400 });
  const leaf = leafOf(pemOf(await world.answer('csr', 'long')));
  t.is(leaf.validToDate.getTime() - leaf.validFromDate.getTime(), 7_230_000);
});

const REFUSED: [why: string, name: string, request: object, reason: string][] = [
  ['of a token that is bound to no pod', 'unbound', {}, 'PermissionDenied'],
  ['for usages that leaves do not have', 'usages', { pod: 'web', usages: ['cert sign'] }, 'InvalidArgument'],
];
for (const [why, name, request, reason] of REFUSED)
  test(`a request ${why} is denied, with a reason`, async (t) => {
    await world.requestCertificate({ name, ...request });
    const { status } = await world.answer('csr', name);
    t.is(status.certificate, undefined);
    t.like(status.conditions?.[0], { type: 'Denied', reason });
  });

test('a request that no pod has made is denied, and one that an operator has approved already fails', async (t) => {
  const denied = await world.answer('csr', 'by-admin');
  t.like(denied.status.conditions?.[0], { type: 'Denied', reason: 'PermissionDenied' });
  t.regex(denied.status.conditions?.[0]?.message ?? '', /is no service account/);
  const failed = await world.answer('csr', 'approved');
  t.like(failed.status.conditions?.[1], { type: 'Failed', reason: 'PermissionDenied' });
});

test('a request signed by another key than the one in it is denied (RFC 2986 §4.2)', async (t) => {
  const [body = new Uint8Array()] = decodePem('CERTIFICATE REQUEST', newRequest());
  const forged = Uint8Array.from(body);
  // Within the signature's second integer.
  forged[forged.length - 4] = (forged[forged.length - 4] ?? 0) ^ 1;
  const request = encodePem('CERTIFICATE REQUEST', forged);
  // The API server checks the signature too, so it is refused there before it reaches us.
  await t.throwsAsync(world.requestCertificate({ name: 'forged', pod: 'web', request }));
});

test("a pod that is gone, or that has another's name, gets nothing", async (t) => {
  for (const name of ['gone', 'anew']) {
    const { status } = await world.answer('csr', name);
    t.like(status.conditions?.[0], { type: 'Denied', reason: 'PermissionDenied' });
  }
});

test('a pod that is revoked gets nothing', async (t) => {
  const { uid } = await world.makePod({ name: 'revoked' });
  await carnet.call('POST', '/v1/revocations', { instance: `pod:${uid}`, reason: 'test' });
  await world.requestCertificate({ name: 'revoked', pod: 'revoked' });
  const { status } = await world.answer('csr', 'revoked');
  t.like(status.conditions?.[0], { type: 'Denied', reason: 'PermissionDenied' });
  t.regex(status.conditions?.[0]?.message ?? '', /is revoked/);
});

async function podCertificate(
  name: string,
  fields: object,
  keyPair = generateKeyPairSync('ec', { namedCurve: 'P-256' }),
) {
  const [pod, node, account] = [
    await world.find('pod', 'web'),
    await world.find('node', 'n1'),
    await world.find('serviceaccount', 'default'),
  ];
  const podUID = pod?.metadata.uid ?? '';
  await world.cluster.apply({
    apiVersion: 'certificates.k8s.io/v1beta1',
    kind: 'PodCertificateRequest',
    metadata: { name, namespace: 'default' },
    spec: {
      signerName: SIGNER,
      podName: 'web',
      podUID,
      serviceAccountName: 'default',
      serviceAccountUID: account?.metadata.uid,
      nodeName: 'n1',
      nodeUID: node?.metadata.uid,
      ...podCertificateSpec(keyPair, podUID),
      ...fields,
    },
  });
  return world.answer('podcertificaterequest', name, 'default');
}

test('a pod gets its identity by a PodCertificateRequest', async (t) => {
  const { status } = await podCertificate('pcr', {});
  const leaf = leafOf(status.certificateChain ?? '');
  t.is(leaf.subjectAltName, 'URI:spiffe://carnet.local/ns/default/sa/default');
  t.is(Date.parse(status.notAfter ?? ''), leaf.validToDate.getTime());
  t.is(Date.parse(status.beginRefreshAt ?? ''), leaf.validFromDate.getTime() + 7_230_000 / 2);
  t.like(await issuanceOf(leaf), { requester: 'kubernetes:pcr/default/pcr', node: 'n1' });
});

test('a PodCertificateRequest for an hour gets just an hour', async (t) => {
  const { status } = await podCertificate('hour', { maxExpirationSeconds: 3600 });
  t.is(Date.parse(status.notAfter ?? '') - Date.parse(status.notBefore ?? ''), 3_600_000);
});

test('a PodCertificateRequest for a key that Envoy does not take is told so', async (t) => {
  const key = generateKeyPairSync('ec', { namedCurve: 'P-521' });
  const { status } = await podCertificate('p521', {}, key);
  t.like(status.conditions?.[0], { type: 'Denied', reason: 'UnsupportedKeyType' });
});

test('a PodCertificateRequest with annotations is refused, as signers must that know none', async (t) => {
  const { status } = await podCertificate('annotated', {
    unverifiedUserAnnotations: { 'example.test/a': 'b' },
  });
  t.like(status.conditions?.[0], { type: 'Denied', reason: 'InvalidArgument' });
});
