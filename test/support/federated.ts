import { once } from 'node:events';
import { chmod, copyFile, link, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EnvoyOptions, envoyBootstrap } from '../../src/cli/envoy-bootstrap.ts';
import type { EndpointIdentity } from '../../src/federation/serve-bundle.ts';
import { type CarnetProcess, startCarnet } from './carnet.ts';
import { type EnvoyProcess, envoyBinary, startEnvoy } from './envoy.ts';
import { freePort } from './free-port.ts';
import { CLIENT_SERIAL_HEADER, SERVER_CERTIFICATE_HEADER } from './load.ts';
import { until } from './until.ts';

const LOCALHOST = '127.0.0.1';
const ANY_PORT = { host: LOCALHOST, port: 0 };

/** A trust domain with a real server, and Envoys of its own. */
export interface FederatedDomain extends AsyncDisposable {
  readonly name: string;
  readonly carnet: CarnetProcess;
  /** Of its bundle endpoint. */
  readonly endpoint: string;
  /** Knows another trust domain from now on, by its endpoint and the bundle that it has now. */
  federate(other: FederatedDomain): Promise<void>;
  /** An Envoy with the identity `/fed/<name>`, whose entry federates with these trust domains; it verifies by `trust`. */
  envoy(name: string, federatesWith: readonly string[], sides: Sides, trust?: string): Promise<EnvoyProcess>;
  /** What takes mTLS from these peers, and answers by an app of its own. */
  inbound(peers: readonly string[]): Sides;
  /** What carries plain HTTP to that port, with a TLS handshake for each request. */
  outbound(port: number, peers: readonly string[]): Sides;
}

type Sides = Pick<EnvoyOptions, 'inbound' | 'outbound'>;

export async function startDomain(name: string, refreshHint: string): Promise<FederatedDomain> {
  await using stack = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), 'carnet-federated-'));
  await chmod(directory, 0o755);
  stack.defer(() => rm(directory, { recursive: true, force: true }));
  const carnet = stack.use(
    await startCarnet([
      ...['--trust-domain', name, '--grpc-addr', 'off', '--leaf-ttl', '1h', '--rotation-hold', '1s'],
      ...['--federation-addr', `${LOCALHOST}:0`, '--federation-refresh-hint', refreshHint],
    ]),
  );
  const endpoint = await until(
    'its bundle endpoint is up',
    () => /"url":"(https:[^"]+)"/.exec(carnet.log())?.[1],
  );
  const app = createServer((_, response) => response.end('hello\n')).listen(0, LOCALHOST);
  await once(app, 'listening');
  stack.defer(() => void app.close());
  stack.defer(() => app.closeAllConnections());
  const { port: appPort } = app.address() as { port: number };
  const owned = stack.move();
  return {
    name,
    carnet,
    endpoint,
    federate: async (other) => {
      const file = join(directory, `${other.name}.json`);
      await writeFile(file, await (await fetch(`${other.carnet.url}/v1/bundle`)).text());
      const { code, stderr } = await carnet.cli(
        ...['federation', 'create', other.name, '--endpoint', other.endpoint, '--bundle', file],
      );
      if (code !== 0) throw new Error(stderr);
    },
    envoy: async (id, federatesWith, sides, trust = 'ALL') => {
      const binary = join(directory, id, 'envoy');
      await mkdir(join(directory, id));
      const original = envoyBinary();
      if (original === undefined) throw new Error('this needs Envoy: run it by npm');
      await link(original, binary).catch(() => copyFile(original, binary));
      await carnet.call('POST', '/v1/entries', {
        id,
        spiffe_id: `/fed/${id}`,
        selectors: [`unix:uid:${process.getuid?.()}`, `unix:path:${binary}`],
        federates_with: federatesWith,
      });
      const { agentSocket } = carnet;
      // Known beforehand, so that the agent sees there what is in use.
      const admin = { host: LOCALHOST, port: await freePort() };
      const common = { sdsFrom: agentSocket, nodeId: id, admin, apiType: 'GRPC', federated: true } as const;
      const config = JSON.stringify(envoyBootstrap({ ...common, ...sides }));
      const envoy = await startEnvoy({
        config: JSON.parse(config.replaceAll('"ALL"', `"${trust}"`)),
        binary,
      });
      owned.defer(() => envoy.stop());
      await envoy.ready();
      return envoy;
    },
    inbound: (peers) => ({
      inbound: {
        listen: ANY_PORT,
        app: { host: LOCALHOST, port: appPort },
        peers,
        responseHeaders: { [CLIENT_SERIAL_HEADER]: '%DOWNSTREAM_PEER_SERIAL%' },
      },
      outbound: [],
    }),
    outbound: (port, peers) => ({
      inbound: null,
      outbound: [
        {
          name: 'outbound',
          listen: ANY_PORT,
          upstream: { host: LOCALHOST, port },
          peers,
          responseHeaders: { [SERVER_CERTIFICATE_HEADER]: '%UPSTREAM_PEER_CERT%' },
          requestsPerConnection: 1,
        },
      ],
    }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Whether what listens there for mTLS takes this certificate: the status of its answer, or null when it refuses. */
export function askWith({ chain, privateKey }: EndpointIdentity, port: number): Promise<number | null> {
  const { promise, resolve } = Promise.withResolvers<number | null>();
  // Whom we ask is not what is tested here.
  const tls = { cert: chain, key: privateKey, rejectUnauthorized: false };
  const call = request({ host: LOCALHOST, port, agent: false, ...tls }, (response) => {
    response.resume();
    resolve(response.statusCode ?? null);
  });
  call.on('error', () => resolve(null));
  call.end();
  return promise;
}
