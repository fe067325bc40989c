import test from 'ava';
import { type EnvoyOptions, envoyBootstrap } from '../../src/cli/envoy-bootstrap.ts';

for (const [what, admin, address] of [
  ['loopback', { host: '127.0.0.1', port: 9901 }, '127.0.0.1:9901'],
  ['loopback by name', { host: 'localhost', port: 9901 }, '127.0.0.1:9901'],
  ['loopback of IPv6', { host: '::1', port: 9901 }, '[::1]:9901'],
  ['every address', { host: '0.0.0.0', port: 9901 }, '127.0.0.1:9901'],
  ['every address of IPv6', { host: '::', port: 9901 }, '[::1]:9901'],
  ['a Unix socket', { path: '/run/envoy/admin.sock' }, '/run/envoy/admin.sock'],
  ['another address', { host: '10.0.0.1', port: 9901 }, null],
  ['a port that is not known yet', { host: '127.0.0.1', port: 0 }, null],
] as const satisfies readonly [string, EnvoyOptions['admin'], string | null][])
  test(`an Envoy with its admin interface on ${what} tells the agent ${address ?? 'nothing of it'}`, (t) => {
    const { node } = envoyBootstrap({
      sdsFrom: '/run/agent.sock',
      nodeId: 'web',
      admin,
      apiType: 'GRPC',
      inbound: null,
      outbound: [],
    });
    const metadata = address === null ? {} : { metadata: { carnet_admin_address: address } };
    t.deepEqual(node, { id: 'web', cluster: 'web', ...metadata });
  });
