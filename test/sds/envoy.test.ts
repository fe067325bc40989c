import { setTimeout as pause } from 'node:timers/promises';
import { connect } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import type { X509Svid } from '../../src/delivery/holdings.ts';
import { encodePem } from '../../src/x509/pem.ts';
import { type EnvoyProcess, envoyBinary, loopback, startEnvoy } from '../support/envoy.ts';
import { createAuthority, type TestAuthority } from './certificates.ts';
import { serve } from './harness.ts';
import { TestHolder } from './holder.ts';

const run = envoyBinary() === undefined ? test.skip : test;
const SHOW_TIMEOUT_MS = 60_000;

for (const apiType of ['GRPC', 'DELTA_GRPC'] as const) {
  run(
    `a real Envoy (${apiType}) takes a secret, its update and a new bundle, and refuses a bad one`,
    async (t) => {
      const [authority, next] = [await createAuthority(), await createAuthority()];
      const web = new TestHolder({ svids: [await authority.issue('/web')], bundle: authority.bundle(1) });
      const { socket, told, events } = await serve(t, { web });
      const envoy = await start(t, socket, apiType);
      await envoy.ready();
      const port = await envoy.listenerPort('inbound');
      await told('acknowledged', 2);
      t.like(events.find(([kind]) => kind === 'named')?.[1], { id: 'proxy-1', cluster: 'test' });
      await shows(t, port, authority, authority, web.current().svids[0]);

      t.log('a renewed leaf');
      web.set({ svids: [await authority.issue('/web')] });
      await told('acknowledged', 3);
      await shows(t, port, authority, authority, web.current().svids[0]);

      t.log('a bundle of another root');
      web.set({ bundle: next.bundle(2) });
      await told('acknowledged', 4);
      await shows(t, port, authority, next, web.current().svids[0]);

      t.log('a leaf with the key of another');
      const good = web.current().svids[0];
      const bad = {
        ...(await authority.issue('/web')),
        privateKey: (await authority.issue('/web')).privateKey,
      };
      web.set({ svids: [bad] });
      const [[, name, version, message] = []] = await told('rejected');
      t.deepEqual([name, version], ['default', bad.serial]);
      t.regex(String(message), /private key/);
      t.log(`its refusal: ${message}`);
      await shows(t, port, authority, next, good);

      t.log('a good leaf again');
      web.set({ svids: [await authority.issue('/web')] });
      await told('acknowledged', 5);
      await shows(t, port, authority, next, web.current().svids[0]);
    },
  );

  run(
    `a real Envoy (${apiType}) waits for a secret that it may not have yet, and takes it when it may`,
    async (t) => {
      const authority = await createAuthority();
      const web = new TestHolder({ svids: [], complete: true, bundle: authority.bundle(1) });
      const { socket, told } = await serve(t, { web });
      const envoy = await start(t, socket, apiType);
      await told('waiting');
      t.is((await fetch(`http://127.0.0.1:${envoy.adminPort}/ready`)).status, 503);
      web.set({ svids: [await authority.issue('/web')] });
      await envoy.ready();
      await shows(t, await envoy.listenerPort('inbound'), authority, authority, web.current().svids[0]);
    },
  );

  run(`a real Envoy (${apiType}) keeps a secret that is withdrawn`, async (t) => {
    const authority = await createAuthority();
    const web = new TestHolder({ svids: [await authority.issue('/web')], bundle: authority.bundle(1) });
    const { socket, told } = await serve(t, { web });
    const envoy = await start(t, socket, apiType);
    await envoy.ready();
    await told('acknowledged', 2);
    const { svids } = web.current();
    web.set({ svids: [], bundle: authority.bundle(2) });
    await told('acknowledged', 3);
    await shows(t, await envoy.listenerPort('inbound'), authority, authority, svids[0]);
    t.notRegex(envoy.logs(), /rejected/);
  });
}

async function start(t: ExecutionContext, socket: string, apiType: string): Promise<EnvoyProcess> {
  const envoy = await startEnvoy({ config: bootstrap(socket, apiType) });
  t.teardown(() => envoy.stop());
  return envoy;
}

/** New connections to the listener, by a client that `client` issued, come to show this certificate. */
async function shows(
  t: ExecutionContext,
  port: number,
  server: TestAuthority,
  client: TestAuthority,
  svid: X509Svid | undefined,
): Promise<void> {
  const own = await client.issue('/client');
  const deadline = Date.now() + SHOW_TIMEOUT_MS;
  for (;;) {
    // Workers take an acknowledged secret a moment after the acknowledgement.
    const serial = await serialShown(port, server, own).catch((error: Error) => error.message);
    if (serial === svid?.serial) break;
    if (Date.now() > deadline) return t.fail(`Envoy shows ${serial}, not ${svid?.serial}`);
    await pause(20);
  }
  t.pass();
}

/** A whole exchange over mTLS; returns the serial of the server's certificate. */
function serialShown(port: number, server: TestAuthority, own: X509Svid): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: '127.0.0.1',
      port,
      ca: server.certificate.toString('pem'),
      cert: own.chain.map((der) => encodePem('CERTIFICATE', der)).join(''),
      key: encodePem('PRIVATE KEY', own.privateKey),
      checkServerIdentity: () => undefined,
    });
    socket.end('GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n');
    socket.once('data', () => resolve(socket.getPeerCertificate().serialNumber.toLowerCase()));
    socket.once('error', reject);
    // Where Envoy doesn't trust the client, TLS 1.3 may show no more than a connection that ends.
    socket.once('close', () => reject(new Error('Envoy closed the connection')));
    socket.resume();
  });
}

function bootstrap(socket: string, apiType: string): object {
  const sdsConfig = {
    resource_api_version: 'V3',
    api_config_source: {
      api_type: apiType,
      transport_api_version: 'V3',
      grpc_services: [
        { envoy_grpc: { cluster_name: 'agent' }, initial_metadata: [{ key: 'caller', value: 'web' }] },
      ],
    },
  };
  const manager = {
    '@type':
      'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
    stat_prefix: 'inbound',
    route_config: {
      virtual_hosts: [
        {
          name: 'all',
          domains: ['*'],
          routes: [{ match: { prefix: '/' }, direct_response: { status: 200 } }],
        },
      ],
    },
    http_filters: [
      {
        name: 'envoy.filters.http.router',
        typed_config: { '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router' },
      },
    ],
  };
  const tls = {
    '@type': 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext',
    require_client_certificate: true,
    common_tls_context: {
      tls_certificate_sds_secret_configs: [{ name: 'default', sds_config: sdsConfig }],
      validation_context_sds_secret_config: { name: 'ROOTCA', sds_config: sdsConfig },
    },
  };
  return {
    node: { id: 'proxy-1', cluster: 'test' },
    static_resources: {
      listeners: [
        {
          name: 'inbound',
          address: loopback(),
          filter_chains: [
            {
              filters: [{ name: 'http', typed_config: manager }],
              transport_socket: { name: 'tls', typed_config: tls },
            },
          ],
        },
      ],
      clusters: [
        {
          name: 'agent',
          typed_extension_protocol_options: {
            'envoy.extensions.upstreams.http.v3.HttpProtocolOptions': {
              '@type': 'type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions',
              explicit_http_config: { http2_protocol_options: {} },
            },
          },
          load_assignment: {
            cluster_name: 'agent',
            endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path: socket } } } }] }],
          },
        },
      ],
    },
  };
}
