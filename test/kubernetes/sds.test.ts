import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ServiceError, status } from '@grpc/grpc-js';
import test from 'ava';
import { describeIdentity, identityOf } from '../../src/cli/identity.ts';
import { fetchRoots } from '../support/bundle.ts';
import type { CarnetProcess } from '../support/carnet.ts';
import { startEnvoy } from '../support/envoy.ts';
import { freePort } from '../support/free-port.ts';
import { clusterMissing } from '../support/kubernetes.ts';
import { RemoteClient } from '../support/svid-keeper.ts';
import { until } from '../support/until.ts';
import { startWorld, type World } from './world.ts';

const missing = clusterMissing();
const onCluster = missing === null ? test.serial : test.serial.skip;
if (missing !== null) process.stderr.write(`test/kubernetes/sds: ${missing}\n`);

const WEB = 'spiffe://carnet.local/ns/shop/sa/web';

let world: World;
let carnet: CarnetProcess;
let address: string;
let pod: { readonly uid: string };
let roots: string;

test.before(async () => {
  if (missing !== null) return;
  world = await startWorld();
  address = `127.0.0.1:${await freePort()}`;
  carnet = await world.start('--sds-on-grpc', '--leaf-ttl', '20s', '--grpc-addr', address);
  pod = await world.makePod({ namespace: 'shop', name: 'web-1', serviceAccount: 'web' });
  roots = await fetchRoots(carnet.url);
});
test.after.always(() => world?.close());

async function tokenOf(name: string, audience = 'carnet'): Promise<string> {
  const bound = ['--bound-object-kind', 'Pod', '--bound-object-name', name];
  const args = ['create', 'token', 'web', '-n', 'shop', '--audience', audience, ...bound];
  return (await world.cluster.kubectl(...args)).trim();
}

async function ask(token: string) {
  const client = new RemoteClient(address, { roots, token });
  try {
    return identityOf(await client.fetch('default', 'ROOTCA'));
  } finally {
    client.close();
  }
}

function reviews(): number {
  return readFileSync(world.auditLog, 'utf8')
    .split('\n')
    .filter((line) => line.includes('"tokenreviews"')).length;
}

onCluster(
  'a pod’s token gets its service account’s certificate, and is asked about once for many calls',
  async (t) => {
    const token = await tokenOf('web-1');
    // The rule's entry follows the pod within moments.
    const identity = await until('the pod is known', () => ask(token).catch(() => null));
    const { spiffe_id, serial } = describeIdentity(identity);
    t.is(spiffe_id, WEB);
    const record = (await carnet.call('GET', `/v1/issuances/${serial}`)) as {
      requester: string;
      evidence: object;
    };
    t.like(record, { identity: WEB, instance: `pod:${pod.uid}` });
    t.regex(record.requester, /^sds:/);
    t.like(record.evidence, { kubernetes: { namespace: 'shop', pod: 'web-1', node: 'n1' } });
    const another = await tokenOf('web-1');
    const before = reviews();
    const client = new RemoteClient(address, { roots, token: another });
    await Promise.all(Array.from({ length: 20 }, () => client.fetch('ROOTCA')));
    client.close();
    t.is(reviews() - before, 1);
  },
);

onCluster(
  'refuses a token that has expired, is for another, is changed, or whose pod is gone; none is recorded',
  async (t) => {
    await world.makePod({ namespace: 'shop', name: 'gone', serviceAccount: 'web' });
    const gone = await tokenOf('gone');
    await world.cluster.kubectl('delete', 'pod', 'gone', '-n', 'shop', '--force', '--grace-period=0');
    const [header, claims = '', signature] = (await tokenOf('web-1')).split('.');
    const { exp, ...others } = JSON.parse(Buffer.from(claims, 'base64url').toString()) as { exp: number };
    const changed = (change: object): string =>
      [
        header,
        Buffer.from(JSON.stringify({ exp, ...others, ...change })).toString('base64url'),
        signature,
      ].join('.');
    const count = async () => (await world.query('SELECT FROM issuance')).length;
    const before = await count();
    for (const [token, says] of [
      [changed({ exp: 1_700_000_000 }), /it expired at 2023-11-14T22:13:20.000Z: come back with a newer one/],
      [changed({ exp: exp + 1 }), /the API server does not take the token/],
      [await tokenOf('web-1', 'somebody'), /audience/],
      [gone, /gone|invalidated/],
      ['not.a.token', /it is no JWT/],
    ] as const) {
      const error = (await t.throwsAsync(ask(token))) as ServiceError;
      t.is(error.code, status.UNAUTHENTICATED, error.details);
      t.regex(error.details, says);
    }
    t.is(await count(), before);
  },
);

onCluster('a real Envoy is let in by a token in a file, and by the next that is put there', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'carnet-token-'));
  const [file, bundle] = [join(directory, 'token'), join(directory, 'bundle.pem')];
  const put = (token: string): void => {
    writeFileSync(`${file}.next`, token);
    renameSync(`${file}.next`, file);
  };
  writeFileSync(bundle, roots);
  put('not.a.token');
  const { code, stdout, stderr } = await carnet.cli(
    ...['envoy', 'bootstrap', '--json', '--node-id', 'by-token', '--admin', '127.0.0.1:0'],
    ...[
      '--sds-server',
      address,
      '--token-file',
      file,
      '--trust-bundle',
      bundle,
      '--credentials-dir',
      directory,
    ],
    ...['--listen', '127.0.0.1:0', '--app', '127.0.0.1:9'],
  );
  t.is(code, 0, stderr);
  const envoy = await startEnvoy({ config: JSON.parse(stdout) });
  try {
    await until('it is refused', () => envoy.logs().includes('it%20is%20no%20JWT'));
    put(`${await tokenOf('web-1')}\n`);
    await until('it has its certificate', async () => (await envoy.admin('/certs')).includes(WEB));
    const proxies = (await carnet.call('GET', '/v1/proxies')) as {
      items: { node_id: string; instance: string }[];
    };
    t.like(
      proxies.items.find(({ node_id }) => node_id === 'by-token'),
      { instance: `pod:${pod.uid}` },
    );
  } finally {
    await envoy.stop();
    await rm(directory, { recursive: true, force: true });
  }
});
