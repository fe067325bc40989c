import { once } from 'node:events';
import { chmod, copyFile, link, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EnvoyOptions, envoyBootstrap } from '../../src/cli/envoy-bootstrap.ts';
import type { SdsServer } from '../../src/cli/envoy-sds-server.ts';
import { type EnvoyProcess, envoyBinary, startEnvoy } from './envoy.ts';
import { CLIENT_SERIAL_HEADER, SERVER_CERTIFICATE_HEADER } from './load.ts';

/** Two real Envoys with mTLS between them: the client's carries plain HTTP to the server's, which has an app behind it. */
export interface Pair {
  /** Plain HTTP in; each request makes a TLS connection of its own to the server's Envoy. */
  readonly port: number;
  readonly client: EnvoyProcess;
  readonly server: EnvoyProcess;
  stop(): Promise<void>;
}

export interface PairOptions {
  /** Or the server that each of the two goes to instead, by its name. */
  readonly agentSocket: string | ((name: string) => SdsServer);
  readonly apiType: 'GRPC' | 'DELTA_GRPC';
  readonly trustDomain: string;
  /** Registers who the two Envoys are: by the executables that they run. */
  readonly register: (entry: { id: string; spiffe_id: string; selectors: string[] }) => Promise<unknown>;
}

const LOCALHOST = '127.0.0.1';
const ANY_PORT = { host: LOCALHOST, port: 0 };

/**
 * Each Envoy runs an executable of its own, so that the kernel's word tells the two apart whoever runs them, and
 * each accepts the other's SPIFFE ID only.
 */
export async function startPair({ agentSocket, apiType, trustDomain, register }: PairOptions): Promise<Pair> {
  const original = envoyBinary();
  if (original === undefined) throw new Error('this needs Envoy: run it by npm');
  const directory = await mkdtemp(join(tmpdir(), 'carnet-pair-'));
  await chmod(directory, 0o755);
  const app = createServer((_, response) => response.end('hello\n')).listen(0, LOCALHOST);
  await once(app, 'listening');
  const { port: appPort } = app.address() as { port: number };
  const idOf = (name: string): string => `spiffe://${trustDomain}/pair/${name}`;

  const start = async (
    name: string,
    sides: Pick<EnvoyOptions, 'inbound' | 'outbound'>,
  ): Promise<EnvoyProcess> => {
    const binary = join(directory, name, 'envoy');
    await mkdir(join(directory, name));
    await link(original, binary).catch(() => copyFile(original, binary));
    await register({
      id: `pair-${name}`,
      spiffe_id: `/pair/${name}`,
      selectors: [`unix:uid:${process.getuid?.()}`, `unix:path:${binary}`],
    });
    const source = typeof agentSocket === 'string' ? agentSocket : agentSocket(name);
    const config = envoyBootstrap({ sdsFrom: source, nodeId: name, admin: ANY_PORT, apiType, ...sides });
    const envoy = await startEnvoy({ config, binary });
    await envoy.ready();
    return envoy;
  };
  const inbound = {
    listen: ANY_PORT,
    app: { host: LOCALHOST, port: appPort },
    peers: [idOf('client')],
    responseHeaders: { [CLIENT_SERIAL_HEADER]: '%DOWNSTREAM_PEER_SERIAL%' },
  };
  const server = await start('server', { inbound, outbound: [] });
  const outbound = {
    name: 'outbound',
    listen: ANY_PORT,
    upstream: { host: LOCALHOST, port: await server.listenerPort('inbound') },
    peers: [idOf('server')],
    responseHeaders: { [SERVER_CERTIFICATE_HEADER]: '%UPSTREAM_PEER_CERT%' },
    requestsPerConnection: 1,
  };
  const client = await start('client', { inbound: null, outbound: [outbound] });
  const port = await client.listenerPort('outbound');
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
