import { resolve } from 'node:path';
import test from 'ava';
import { readAgentConfig, socketOf } from '../src/agent-config.ts';
import { CarnetError } from '../src/errors.ts';

const JOINING = { 'server-addr': 'carnet.example:8443', 'join-token-file': '/etc/carnet/token' };
const read = (flags: Record<string, string>, env: NodeJS.ProcessEnv = {}) =>
  readAgentConfig(new Map(Object.entries(flags)), env);

test('an agent needs a server and a join token, and has a socket in its data directory', (t) => {
  const config = read(JOINING);
  t.deepEqual(config.serverAddr, [{ host: 'carnet.example', port: 8443 }]);
  t.is(config.attestMethod, 'join_token');
  t.is(socketOf(config), resolve('carnet-agent-data/agent.sock'));
  t.deepEqual([config.cache, config.httpAddr], [false, null]);
  t.is(read({ 'server-addr': 'a:1' }, { CARNET_JOIN_TOKEN: 'cnj1' }).joinToken, 'cnj1');
});

test('several servers are given with commas, also by IPv6 address', (t) => {
  const { serverAddr } = read({ ...JOINING, 'server-addr': 'a.example:1, [::1]:2,10.0.0.1:3' });
  t.deepEqual(
    serverAddr.map(({ host, port }) => `${host} ${port}`),
    ['a.example 1', '::1 2', '10.0.0.1 3'],
  );
});

const TRUSTED = { 'server-addr': 'a:1', 'trust-bundle': '/roots.pem' };
const POP = { 'x509pop-cert-file': '/cert.pem', 'x509pop-key-file': '/key.pem' };

for (const [method, flags] of Object.entries({
  x509pop: POP,
  oidc: { 'oidc-token-file': '/jwt' },
  k8s_psat: {},
}))
  test(`${method} with its files and a trust bundle is enough`, (t) => {
    t.is(read({ ...TRUSTED, 'attest-method': method, ...flags }).attestMethod as string, method);
  });

const REFUSED: [string, Record<string, string>, RegExp][] = [
  ['no server', { 'join-token-file': '/t' }, /--server-addr/],
  ['a server without a port', { ...JOINING, 'server-addr': 'carnet.example' }, /--server-addr/],
  ['a server without a host', { ...JOINING, 'server-addr': ':8443' }, /--server-addr/],
  ['one bad server of two', { ...JOINING, 'server-addr': 'a:1,b' }, /--server-addr/],
  ['no join token', { 'server-addr': 'a:1' }, /--join-token-file/],
  ['two join tokens', { ...JOINING, 'join-token': 'cnj1' }, /needs one of/],
  ['a method that is none', { ...JOINING, 'attest-method': 'trust-me' }, /--attest-method/],
  [
    'x509pop without its key',
    { ...TRUSTED, 'attest-method': 'x509pop', 'x509pop-cert-file': '/c' },
    /key-file/,
  ],
  ['oidc without its token', { ...TRUSTED, 'attest-method': 'oidc' }, /--oidc-token-file/],
  [
    'k8s_psat without a trust bundle',
    { 'server-addr': 'a:1', 'attest-method': 'k8s_psat' },
    /--trust-bundle/,
  ],
  ['a trust domain that is none', { ...JOINING, 'trust-domain': 'Carnet' }, /--trust-domain/],
];

for (const [what, flags, words] of REFUSED)
  test(`refuses ${what}`, (t) => {
    const error = t.throws(() => read(flags), { instanceOf: CarnetError, code: 'config_invalid' });
    t.regex(error?.message ?? '', words);
  });
