import { X509Certificate } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { ChannelCredentials, Metadata, status } from '@grpc/grpc-js';
import test from 'ava';
import { IstioCertificateServiceClient } from '../../src/gen/istio/v1/auth/ca.ts';
import { fetchRoots } from '../support/bundle.ts';
import type { CarnetProcess } from '../support/carnet.ts';
import { freePort } from '../support/free-port.ts';
import { clusterMissing } from '../support/kubernetes.ts';
import { until } from '../support/until.ts';
import { newRequest, startWorld, type World } from './world.ts';

const missing = clusterMissing();
const onCluster = missing === null ? test.serial : test.serial.skip;
if (missing !== null) process.stderr.write(`test/kubernetes/istio: ${missing}\n`);

/** Under which Istio's agents look for their CA. */
const NAME = 'istiod.istio-system.svc';
const WEB = 'spiffe://carnet.local/ns/shop/sa/web';

let world: World;
let carnet: CarnetProcess;
let client: IstioCertificateServiceClient;

test.before(async () => {
  if (missing !== null) return;
  world = await startWorld();
  const port = await freePort();
  carnet = await world.start(
    ...['--istio', '--istio-node-agents', 'istio-system/ztunnel'],
    ...['--leaf-ttl', '20s', '--rotation-hold', '1s'],
    ...['--grpc-addr', `127.0.0.1:${port}`, '--grpc-dns-name', NAME],
  );
  await world.makePod({ namespace: 'shop', name: 'web-1', serviceAccount: 'web' });
  await world.makePod({ namespace: 'istio-system', name: 'ztunnel-1', serviceAccount: 'ztunnel' });
  client = new IstioCertificateServiceClient(
    `127.0.0.1:${port}`,
    ChannelCredentials.createSsl(Buffer.from(await fetchRoots(carnet.url))),
    { 'grpc.ssl_target_name_override': NAME },
  );
});
test.after.always(async () => {
  client?.close();
  await world?.close();
});

async function tokenOf(
  namespace: string,
  account: string,
  pod: string,
  audience = 'istio-ca',
): Promise<string> {
  const bound = ['--bound-object-kind', 'Pod', '--bound-object-name', pod];
  const args = ['create', 'token', account, '-n', namespace, '--audience', audience, ...bound];
  return (await world.cluster.kubectl(...args)).trim();
}

function ask(token: string, impersonated?: string): Promise<string[]> {
  const metadata = new Metadata();
  metadata.set('authorization', `Bearer ${token}`);
  const named = impersonated === undefined ? undefined : { ImpersonatedIdentity: impersonated };
  const request = { csr: newRequest(), validityDuration: 86_400, metadata: named };
  return new Promise((resolve, reject) =>
    client.createCertificate(request, metadata, (error, { certChain } = { certChain: [] }) =>
      error === null ? resolve(certChain) : reject(error),
    ),
  );
}

onCluster('a pod’s token gets its service account’s certificate, and it is on record', async (t) => {
  const token = await tokenOf('shop', 'web', 'web-1');
  // The rule's entry follows the pod within moments.
  const chain = await until('the pod is known', () => ask(token).catch(() => null));
  const [leaf = '', issuer = '', roots = ''] = chain;
  t.is(new X509Certificate(leaf).subjectAltName, `URI:${WEB}`);
  t.true(new X509Certificate(leaf).verify(new X509Certificate(issuer).publicKey));
  t.true(new X509Certificate(issuer).verify(new X509Certificate(roots).publicKey));
  const { serialNumber } = new X509Certificate(leaf);
  const record = await carnet.call('GET', `/v1/issuances/${serialNumber.toLowerCase()}`);
  t.like(record, { identity: WEB, node: 'n1', requester: 'istio:shop/web' });
});

onCluster('ztunnel’s token gets what runs on its node, and nothing else', async (t) => {
  const token = await tokenOf('istio-system', 'ztunnel', 'ztunnel-1');
  const [leaf = ''] = await ask(token, WEB);
  t.is(new X509Certificate(leaf).subjectAltName, `URI:${WEB}`);
  const error = await t.throwsAsync(ask(token, 'spiffe://carnet.local/ns/shop/sa/elsewhere'), {
    message: /nothing runs on node n1 as shop\/elsewhere/,
  });
  t.is((error as unknown as { code: status }).code, status.PERMISSION_DENIED);
});

onCluster(
  'refuses a token for another audience, of a pod that is gone, and one that asks in another’s name',
  async (t) => {
    const refused = async (token: string, says: RegExp, impersonated?: string): Promise<void> => {
      await t.throwsAsync(ask(token, impersonated), { message: says });
    };
    await refused(await tokenOf('shop', 'web', 'web-1', 'somebody'), /UNAUTHENTICATED.*audience/);
    await refused('not.a.token', /UNAUTHENTICATED/);
    await refused(await tokenOf('shop', 'web', 'web-1'), /PERMISSION_DENIED.*no node agent/, WEB);
    await world.makePod({ namespace: 'shop', name: 'gone', serviceAccount: 'web' });
    const token = await tokenOf('shop', 'web', 'gone');
    await world.cluster.kubectl('delete', 'pod', 'gone', '-n', 'shop', '--force', '--grace-period=0');
    await refused(token, /UNAUTHENTICATED.*(gone|invalidated)/);
  },
);

onCluster('a root rotation waits for those who must ask again to learn of the new root', async (t) => {
  const token = await tokenOf('shop', 'web', 'web-1');
  let [, , trusted = ''] = await ask(token);
  const before = trusted;
  const rotation = carnet.cli('root', 'rotate', '--reason', 'test');
  let isOver = false;
  void rotation.finally(() => {
    isOver = true;
  });
  const chains = new Set<string>();
  for (let asked = 0; !isOver || asked === 0; asked++) {
    const [, issuer = '', roots = ''] = await ask(token);
    const root = splitPem(trusted).find((each) => verifies(issuer, each));
    t.truthy(root, 'what is handed out chains to a root that was handed out before');
    chains.add(root ?? '');
    trusted = roots;
    await pause(500);
  }
  t.is((await rotation).code, 0);
  t.is(chains.size, 2);
  t.not(trusted, before);
});

function splitPem(text: string): string[] {
  return text.split(/(?=-----BEGIN)/);
}

function verifies(certificate: string, issuer: string): boolean {
  return new X509Certificate(certificate).verify(new X509Certificate(issuer).publicKey);
}
