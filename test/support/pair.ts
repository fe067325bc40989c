import { once } from 'node:events';
import { chmod, copyFile, link, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { envoyBootstrap } from '../../src/cli/envoy-bootstrap.ts';
import { freePort } from './carnet.ts';
import { type Envoy, envoyBinary, startEnvoy } from './envoy.ts';
import { CLIENT_SERIAL_HEADER, SERVER_CERTIFICATE_HEADER } from './load.ts';

/** Two real Envoys with mTLS between them: the client's carries plain HTTP to the server's, which has an app behind it. */
export interface Pair {
  /** Plain HTTP in; each request makes a TLS connection of its own to the server's Envoy. */
  readonly port: number;
  readonly client: Envoy;
  readonly server: Envoy;
  stop(): Promise<void>;
}

export interface PairOptions {
  readonly agentSocket: string;
  readonly apiType: 'GRPC' | 'DELTA_GRPC';
  readonly trustDomain: string;
  /** Registers who the two Envoys are: by the executables that they run. */
  readonly register: (entry: { id: string; spiffe_id: string; selectors: string[] }) => Promise<unknown>;
}

const LOCALHOST = '127.0.0.1';

/**
 * Each Envoy runs an executable of its own, so that the kernel's word tells the two apart whoever runs them, and
 * each accepts the other's SPIFFE ID only.
 */
export async function startPair({ agentSocket, apiType, trustDomain, register }: PairOptions): Promise<Pair> {
  const directory = await mkdtemp(join(tmpdir(), 'carnet-pair-'));
  await chmod(directory, 0o755);
  const app = createServer((_, response) => response.end('hello\n')).listen(0, LOCALHOST);
  await once(app, 'listening');
  const { port: appPort } = app.address() as { port: number };
  const [port, mtlsPort] = [await freePort(), await freePort()];
  const idOf = (name: string): string => `spiffe://${trustDomain}/pair/${name}`;

  const start = async (
    name: string,
    sides: Pick<Parameters<typeof envoyBootstrap>[0], 'inbound' | 'outbound'>,
  ) => {
    const binary = join(directory, name, 'envoy');
    await mkdir(join(directory, name));
    await link(envoyBinary(), binary).catch(() => copyFile(envoyBinary(), binary));
    await register({ id: `pair-${name}`, spiffe_id: `/pair/${name}`, selectors: [`unix:path:${binary}`] });
    const admin = { host: LOCALHOST, port: await freePort() };
    return startEnvoy({
      config: envoyBootstrap({ agentSocket, nodeId: name, admin, apiType, ...sides }),
      admin,
      binary,
    });
  };
  const inbound = {
    listen: { host: LOCALHOST, port: mtlsPort },
    app: { host: LOCALHOST, port: appPort },
    peers: [idOf('client')],
    responseHeaders: { [CLIENT_SERIAL_HEADER]: '%DOWNSTREAM_PEER_SERIAL%' },
  };
  const outbound = {
    listen: { host: LOCALHOST, port },
    upstream: { host: LOCALHOST, port: mtlsPort },
    peers: [idOf('server')],
    responseHeaders: { [SERVER_CERTIFICATE_HEADER]: '%UPSTREAM_PEER_CERT%' },
    requestsPerConnection: 1,
  };
  const server = await start('server', { inbound, outbound: null });
  const client = await start('client', { inbound: null, outbound });
  return {
    port,
    client,
    server,
    stop: async () => {
      await Promise.all([client.stop(), server.stop()]);
      app.closeAllConnections();
      app.close();
      await rm(directory, { recursive: true, force: true });
    },
  };
}
