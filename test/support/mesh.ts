import { once } from 'node:events';
import { chmod, copyFile, link, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { envoyBootstrap } from '../../src/cli/envoy-bootstrap.ts';
import { type EnvoyProcess, envoyBinary, startEnvoy } from './envoy.ts';
import { freePort } from './free-port.ts';
import { CLIENT_SERIAL_HEADER, type Load, SERVER_CERTIFICATE_HEADER } from './load.ts';
import type { Replicas } from './replicas.ts';
import { until } from './until.ts';

/** Real Envoys that all call each other by mTLS, each with an identity of its own. */
export interface Mesh {
  readonly envoys: readonly EnvoyProcess[];
  /** Plain HTTP in: one for each ordered pair of Envoys; a request makes a TLS connection of its own. */
  readonly ports: readonly number[];
  stop(): Promise<void>;
}

export interface MeshOptions {
  readonly count: number;
  /** Each Envoy goes to one of them in turn. */
  readonly agentSockets: readonly string[];
  readonly trustDomain: string;
  readonly register: (entry: { id: string; spiffe_id: string; selectors: string[] }) => Promise<unknown>;
}

const LOCALHOST = '127.0.0.1';

/** Envoys that go to the replicas in turn. */
export function startMeshOn(replicas: Replicas, count: number): Promise<Mesh> {
  return startMesh({
    count,
    agentSockets: replicas.servers.map(({ agentSocket }) => agentSocket),
    trustDomain: 'carnet.local',
    register: (entry) => replicas.call(0, 'POST', '/v1/entries', entry),
  });
}

/** The ports of all pairs among these Envoys. */
export function portsAmong({ envoys, ports }: Mesh, chosen: readonly number[]): number[] {
  const callees = envoys.length - 1;
  return chosen.flatMap((from) =>
    chosen.filter((to) => to !== from).map((to) => ports[from * callees + (to < from ? to : to - 1)] ?? 0),
  );
}

/** Until each port has made new connections from now on. */
export async function oncePerPort({ stats }: Load, ports: readonly number[]): Promise<void> {
  const enough = stats.handshakes + stats.failures + ports.length * 2;
  await until('all pairs have made new connections', () => stats.handshakes + stats.failures >= enough);
}

/** An Envoy is known by the executable that it runs, as in pair.ts. Resolves when all of them serve. */
export async function startMesh({ count, agentSockets, trustDomain, register }: MeshOptions): Promise<Mesh> {
  const original = envoyBinary();
  if (original === undefined) throw new Error('this needs Envoy: run it by npm');
  const directory = await mkdtemp(join(tmpdir(), 'carnet-mesh-'));
  await chmod(directory, 0o755);
  const app = createServer((_, response) => response.end('hello\n')).listen(0, LOCALHOST);
  await once(app, 'listening');
  const { port: appPort } = app.address() as { port: number };
  const names = Array.from({ length: count }, (_, i) => `mesh-${i}`);
  const inboundPorts: number[] = [];
  for (const _ of names) inboundPorts.push(await freePort());

  const binaryOf = (name: string): string => join(directory, name, 'envoy');
  // All of them before any runs: a link changes the file's times, and who is attested meanwhile is refused for that.
  for (const name of names) {
    await mkdir(join(directory, name));
    await link(original, binaryOf(name)).catch(() => copyFile(original, binaryOf(name)));
  }
  const start = async (name: string, index: number): Promise<EnvoyProcess> => {
    const binary = binaryOf(name);
    const selectors = [`unix:uid:${process.getuid?.()}`, `unix:path:${binary}`];
    await register({ id: name, spiffe_id: `/mesh/${name}`, selectors });
    const everyone = [`spiffe://${trustDomain}/mesh/`];
    const config = envoyBootstrap({
      sdsFrom: agentSockets[index % agentSockets.length] ?? '',
      nodeId: name,
      // Known beforehand, so that the agent can see what it uses.
      admin: { host: LOCALHOST, port: await freePort() },
      apiType: index % 2 === 0 ? 'GRPC' : 'DELTA_GRPC',
      inbound: {
        listen: { host: LOCALHOST, port: inboundPorts[index] ?? 0 },
        app: { host: LOCALHOST, port: appPort },
        peers: everyone,
        responseHeaders: { [CLIENT_SERIAL_HEADER]: '%DOWNSTREAM_PEER_SERIAL%' },
      },
      outbound: names
        .map((peer, i) => ({
          name: peer,
          listen: { host: LOCALHOST, port: 0 },
          upstream: { host: LOCALHOST, port: inboundPorts[i] ?? 0 },
          peers: [`spiffe://${trustDomain}/mesh/${peer}`],
          responseHeaders: { [SERVER_CERTIFICATE_HEADER]: '%UPSTREAM_PEER_CERT%' },
          requestsPerConnection: 1,
        }))
        .filter((side) => side.name !== name),
    });
    return startEnvoy({ config, binary });
  };
  const envoys: EnvoyProcess[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(envoys.map((envoy) => envoy.stop()));
    app.closeAllConnections();
    app.close();
    await rm(directory, { recursive: true, force: true });
  };
  try {
    for (const [i, name] of names.entries()) envoys.push(await start(name, i));
    await Promise.all(envoys.map((envoy) => envoy.ready()));
    const ports: number[] = [];
    for (const [i, envoy] of envoys.entries())
      for (const peer of names) if (peer !== names[i]) ports.push(await envoy.listenerPort(peer));
    return { envoys, ports, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
