import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { createDomain } from '../federation/domain.ts';
import { askWith, type FederatedDomain, startDomain } from '../support/federated.ts';
import { assertNoneFailed, startLoad } from '../support/load.ts';
import { until } from '../support/until.ts';

const PER_SECOND = 30;

test.serial(
  "a proxy takes another trust domain's only if its entry federates, and for its own names alone",
  async (t) => {
    t.timeout(300_000);
    await using a = await startDomain('a.test', '5m');
    const c = await createDomain('c.test');
    await setByHand(a, 'c.test', c.document());
    const peers = ['spiffe://a.test/fed/client', 'spiffe://c.test/web', 'spiffe://d.test/web'];
    const portOf = async (name: string, federatesWith: readonly string[], trust?: string): Promise<number> =>
      (await a.envoy(name, federatesWith, a.inbound(peers), trust)).listenerPort('inbound');
    const [federated, own] = [await portOf('federated', ['c.test']), await portOf('own', [])];
    const apart = await portOf('apart', ['c.test'], 'spiffe://c.test');
    await until('ALL is seen to be in use', async () =>
      (await proxiesOf(a)).some(({ node_id, resources }) =>
        resources.some((one) => node_id === 'federated' && one.name === 'ALL' && isSeen(one)),
      ),
    );
    const web = await c.leaf('spiffe://c.test/web');

    t.is(await askWith(web, federated), 200);
    t.is(await askWith(web, own), null, 'its entry does not federate');
    t.is(await askWith(await c.leaf('spiffe://c.test/other'), federated), null, 'it is not among the peers');
    for (const stolen of ['spiffe://a.test/fed/client', 'spiffe://d.test/web'])
      for (const port of [federated, apart])
        t.is(await askWith(await c.leaf(stolen), port), null, `c.test cannot vouch for ${stolen}`);
    t.is(await askWith(web, apart), 200, 'by a context of its own too');

    const client = await a.envoy('client', [], a.outbound(federated, ['spiffe://a.test/fed/federated']));
    const port = await client.listenerPort('outbound');
    t.is(await statusOf(port), 200, 'our own are accepted by the same context');
    const { code, stderr } = await a.carnet.cli(
      'revoke',
      '--identity',
      'spiffe://a.test/fed/client',
      '--yes',
      '--reason',
      'test',
    );
    t.is(code, 0, stderr);
    await until('revocation is in force', async () => (await statusOf(port)) !== 200);
    t.is(await askWith(web, federated), 200, 'and who has no CRL is still accepted');

    t.is((await a.carnet.cli('federation', 'delete', 'c.test')).code, 0);
    for (const port of [federated, apart])
      await until('the deletion is in force', async () => (await askWith(web, port)) === null);
  },
);

test.serial(
  'a new root of another trust domain is there before anything is signed under it: no handshake fails',
  async (t) => {
    t.timeout(300_000);
    await using a = await startDomain('a.test', '5s');
    await using b = await startDomain('b.test', '5s');
    await a.federate(b);
    await b.federate(a);
    const server = await b.envoy('server', ['a.test'], b.inbound(['spiffe://a.test/fed/client']));
    const upstream = await server.listenerPort('inbound');
    const client = await a.envoy('client', ['b.test'], a.outbound(upstream, ['spiffe://b.test/fed/server']));
    const load = startLoad(await client.listenerPort('outbound'), PER_SECOND);
    try {
      await until('traffic flows', () => load.stats.handshakes > 0);
      const begin = performance.now();
      const { code, stderr } = await b.carnet.cli('root', 'rotate', '--reason', 'test');
      t.is(code, 0, stderr);
      t.log(`root rotated in ${((performance.now() - begin) / 1000).toFixed(1)} s`);
      const handshakes = load.stats.handshakes;
      await until('more handshakes', () => load.stats.handshakes > handshakes + PER_SECOND);
      t.is(load.stats.serverSerials.size, 2, 'before and after');
      await until('the old root is dropped', async () => {
        const { stdout } = await a.carnet.cli('federation', 'show', 'b.test', '--json');
        return JSON.parse(stdout).bundle.x509_authorities === 1;
      });
      await assertNoneFailed(t, load);
    } finally {
      await load.stop();
    }
  },
);

async function setByHand({ carnet }: FederatedDomain, name: string, document: string): Promise<void> {
  const file = join(carnet.dataDir, 'foreign.json');
  await writeFile(file, document);
  const { code, stderr } = await carnet.cli('federation', 'create', name, '--bundle', file);
  if (code !== 0) throw new Error(stderr);
}

interface ProxyResource {
  readonly name: string;
  readonly version_acknowledged: string | null;
  readonly version_observed: string | null;
}

async function proxiesOf({ carnet }: FederatedDomain) {
  const { items } = (await carnet.call('GET', '/v1/proxies')) as {
    items: { node_id: string; resources: ProxyResource[] }[];
  };
  return items;
}

function isSeen({ version_acknowledged, version_observed }: ProxyResource): boolean {
  return version_acknowledged !== null && version_observed === version_acknowledged;
}

async function statusOf(port: number): Promise<number> {
  const response = await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } });
  await response.text();
  return response.status;
}
