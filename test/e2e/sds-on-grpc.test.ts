import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { credentialFiles, type SdsServer } from '../../src/cli/envoy-sds-server.ts';
import { parseTrustDomain } from '../../src/identity/spiffe-id.ts';
import { type CarnetProcess, startCarnet } from '../support/carnet.ts';
import { freePort } from '../support/free-port.ts';
import { assertNoneFailed, startLoad } from '../support/load.ts';
import { startPair } from '../support/pair.ts';
import { keepSvid } from '../support/svid-keeper.ts';
import { until } from '../support/until.ts';

const PER_SECOND = 40;
const TRUST_DOMAIN = parseTrustDomain('carnet.local');

interface World {
  readonly carnet: CarnetProcess;
  readonly address: string;
  readonly port: number;
  readonly directory: string;
  /** Gives a workload its first certificate, and the right to others by it; resolves to the directory with it. */
  introduce(name: string): Promise<string>;
}

async function startWorld(t: ExecutionContext, ...flags: string[]): Promise<World> {
  const port = await freePort();
  const address = `127.0.0.1:${port}`;
  const carnet = await startCarnet([
    '--sds-on-grpc',
    '--grpc-addr',
    address,
    '--log-level',
    'info',
    ...flags,
  ]);
  const directory = await mkdtemp(join(tmpdir(), 'carnet-remote-'));
  t.teardown(async () => {
    await carnet[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });
  const introduce = async (name: string): Promise<string> => {
    const identity = join(directory, name);
    const first = { id: 'first', spiffe_id: `/pair/${name}`, selectors: [`unix:uid:${process.getuid?.()}`] };
    await carnet.call('POST', '/v1/entries', first);
    const { code, stderr } = await carnet.cli('fetch', '--wait', '--write', identity);
    if (code !== 0) throw new Error(stderr);
    await carnet.call('DELETE', '/v1/entries/first');
    await carnet.call('POST', '/v1/entries', {
      id: `remote-${name}`,
      spiffe_id: `/pair/${name}`,
      selectors: [`spiffe:id:spiffe://carnet.local/pair/${name}`],
    });
    return identity;
  };
  return { carnet, address, port, directory, introduce };
}

/** What an Envoy is told of the server, with the files by which it follows its own certificate. */
async function sourceOf({ port }: World, svidDir: string): Promise<SdsServer> {
  const server: SdsServer = {
    address: { host: '127.0.0.1', port },
    trustDomain: TRUST_DOMAIN,
    bundleFile: join(svidDir, 'bundle.pem'),
    credential: { svidDir },
    credentialsDir: svidDir,
  };
  for (const { path, content } of credentialFiles(server)) await writeFile(path, JSON.stringify(content));
  return server;
}

test.serial(
  'two Envoys without an agent fail no handshake over leaf rotations and a root rotation, until one is revoked',
  async (t) => {
    t.timeout(400_000);
    const world = await startWorld(t, '--leaf-ttl', '20s', '--rotation-hold', '1s');
    const sources = new Map<string, SdsServer>();
    const keepers = [];
    for (const name of ['client', 'server']) {
      const directory = await world.introduce(name);
      sources.set(name, await sourceOf(world, directory));
      keepers.push(keepSvid(world.address, directory));
    }
    const pair = await startPair({
      agentSocket: (name) => sources.get(name) as SdsServer,
      apiType: 'DELTA_GRPC',
      trustDomain: TRUST_DOMAIN,
      register: async () => undefined,
    });
    const load = startLoad(pair.port, PER_SECOND);
    try {
      await until('both have presented several leaves', () => {
        const { failures, clientSerials, serverSerials } = load.stats;
        return failures > 0 || (clientSerials.size >= 3 && serverSerials.size >= 3);
      });
      const { stdout } = await world.carnet.cli('proxies', '--json');
      t.regex(stdout, /"grpc-\d+"/);
      const begin = performance.now();
      const { code, stderr } = await world.carnet.cli('root', 'rotate', '--reason', 'test');
      t.is(code, 0, stderr);
      t.log(`rotated in ${((performance.now() - begin) / 1000).toFixed(1)} s`);
      const [clients, servers] = [load.stats.clientSerials.size, load.stats.serverSerials.size];
      await until('both are renewed by the server with its new root', () => {
        const { failures, clientSerials, serverSerials } = load.stats;
        return failures > 0 || (clientSerials.size >= clients + 2 && serverSerials.size >= servers + 2);
      });
      await assertNoneFailed(t, load);
      const revoked = await world.carnet.cli(
        'revoke',
        '--identity',
        '/pair/client',
        '--reason',
        'test',
        '--yes',
      );
      t.is(revoked.code, 0, revoked.stderr);
      await until('its streams are ended', async () => !(await proxiesOf(world)).includes('/pair/client"'));
      await until(
        'the other refuses it',
        async () => (await fetch(`http://127.0.0.1:${pair.port}`)).status === 503,
      );
      await until('the other goes on', async () => (await proxiesOf(world)).includes('/pair/server"'));
    } finally {
      await load.stop();
      await pair.stop();
      for (const keeper of keepers) await keeper.stop();
    }
  },
);

async function proxiesOf({ carnet }: World): Promise<string> {
  return JSON.stringify(await carnet.call('GET', '/v1/proxies'));
}
