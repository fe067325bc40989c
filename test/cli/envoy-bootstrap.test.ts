import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { type EnvoyOptions, envoyBootstrap } from '../../src/cli/envoy-bootstrap.ts';
import { runCarnet } from '../support/carnet.ts';

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

const INBOUND = ['--listen', '127.0.0.1:0', '--app', '127.0.0.1:9'];

for (const [what, flags, says] of [
  ['a server without a credential', ['--sds-server', 'carnet:8443'], /one of --svid-dir and --token-file/],
  [
    'a server with two',
    ['--sds-server', 'carnet:8443', '--svid-dir', '/a', '--token-file', '/b'],
    /one of --svid-dir and --token-file/,
  ],
  ['a token without roots', ['--sds-server', 'carnet:8443', '--token-file', '/b'], /needs --trust-bundle/],
  ['a credential without a server', ['--svid-dir', '/a'], /go with --sds-server/],
] as const)
  test(`refuses ${what}`, async (t) => {
    const { code, stderr } = await runCarnet(['envoy', 'bootstrap', ...INBOUND, ...flags]);
    t.not(code, 0);
    t.regex(stderr, says);
  });

test('an Envoy of a server follows its certificate and the roots through files without secrets', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'carnet-bootstrap-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const server = [
    '--sds-server',
    'carnet:8443',
    '--svid-dir',
    '/run/identity',
    '--credentials-dir',
    directory,
  ];
  const { code, stdout, stderr } = await runCarnet(['envoy', 'bootstrap', '--json', ...INBOUND, ...server]);
  t.is(code, 0, stderr);
  t.true(stdout.includes('"exact":"spiffe://carnet.local/carnet/server"'));
  t.false(stdout.includes('carnet_admin_address'), 'no server looks at a page on another machine');
  const names = (await readdir(directory)).sort();
  t.deepEqual(names, ['carnet_roots.json', 'carnet_svid.json']);
  for (const name of names) t.true(stdout.includes(`"path":"${join(directory, name)}"`));
  const files = await Promise.all(names.map((name) => readFile(join(directory, name), 'utf8')));
  for (const path of ['bundle.pem', 'svid.pem', 'svid.key'])
    t.true(files.join('').includes(`"filename":"/run/identity/${path}"`));
});
