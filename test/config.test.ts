import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { Command } from 'commander';
import { readServerConfig, SERVER_SETTINGS } from '../src/config.ts';
import { addSettings, flagsOf } from '../src/settings.ts';
import { quorumOf } from '../src/witness-settings.ts';
import { newCosigner } from './audit/log/cosigner.ts';

const directory = mkdtempSync(join(tmpdir(), 'carnet-config-'));
test.after.always(() => rmSync(directory, { recursive: true }));

let files = 0;
function fileOf(text: string): string {
  const path = join(directory, `${files++}.yaml`);
  writeFileSync(path, text);
  return path;
}

function read(flags: Record<string, string> = {}, env: NodeJS.ProcessEnv = {}) {
  return readServerConfig(new Map(Object.entries(flags)), env);
}

test('a flag wins over the environment, the environment over the file, the file over the default', (t) => {
  const config = fileOf('leaf_ttl: 1m\nnode_name: from-file\ntrust_domain: file.test\n');
  const { leafTtl, nodeName, trustDomain, issuingCaTtl } = read(
    { config, 'leaf-ttl': '3m' },
    { CARNET_LEAF_TTL: '2m', CARNET_NODE_NAME: 'from-env' },
  );
  t.deepEqual(
    [leafTtl, nodeName, trustDomain as string, issuingCaTtl],
    [180, 'from-env', 'file.test', 7 * 86_400],
  );
});

test('an empty variable of the environment counts as none', (t) => {
  t.is(read({}, { CARNET_LEAF_TTL: '', DATABASE_URL: '' }).leafTtl, 3600);
});

test('CARNET_DATABASE_URL wins over DATABASE_URL', (t) => {
  const env = { DATABASE_URL: 'postgres://b/c', CARNET_DATABASE_URL: 'postgres://a/c' };
  t.is(read({}, env).databaseUrl, 'postgres://a/c');
  t.is(read({}, { DATABASE_URL: env.DATABASE_URL }).databaseUrl, 'postgres://b/c');
});

test('where CRLs are found has no slash at its end, and is unsaid by default', (t) => {
  t.is(read({}, {}).publicUrl, null);
  for (const [value, url] of [
    ['http://pki.example.org', 'http://pki.example.org'],
    ['http://pki.example.org:8080/carnet//', 'http://pki.example.org:8080/carnet'],
    ['http://[::1]:8080/', 'http://[::1]:8080'],
    ['http://B\u00fccher.example', 'http://xn--bcher-kva.example'],
  ] as const)
    t.is(read({ 'public-url': value }, {}).publicUrl, url);
});

test('gRPC listens where it is told to, or nowhere, under the names that it is told', (t) => {
  t.deepEqual(read({}, {}).grpcAddr, { host: '127.0.0.1', port: 8443 });
  t.is(read({ 'grpc-addr': 'off' }, {}).grpcAddr, null);
  t.deepEqual(read({}, {}).grpcDnsName, []);
  t.deepEqual(read({ 'grpc-dns-name': 'a.b, c.d.svc' }, {}).grpcDnsName, ['a.b', 'c.d.svc']);
});

const REFUSED: [flag: string, value: string][] = [
  ['grpc-addr', 'nowhere'],
  ['grpc-dns-name', '*.example.org'],
  ['grpc-dns-name', 'a,,b'],
  ['agent-ttl', '31d'],
  ['public-url', 'pki.example.org'],
  ['public-url', 'https://pki.example.org'],
  ['public-url', 'http://'],
  ['public-url', 'http://user@pki.example.org'],
  ['public-url', 'http://pki.example.org/?a'],
  ['public-url', 'http://pki.example.org/#a'],
  ['public-url', 'http://pki.example.org/a b'],
  ['public-url', `http://pki.example.org/${'x'.repeat(200)}`],
  ['web-url', 'carnet.example'],
  ['web-url', 'http://carnet.example'],
  ['web-url', 'https://carnet.example/ui'],
  ['web-url', 'https://user@carnet.example'],
  ['web-url', 'http://127.0.0.1.evil.example'],
  ['oidc-issuer', 'http://id.example'],
  ['oidc-issuer', 'https://id.example/?a'],
  ['oidc-role', 'boss=all'],
  ['oidc-role', 'admin='],
  ['oidc-role', 'admin'],
  ['oidc-scope', 'email'],
  ['https-addr', 'nowhere'],
  ['identity-role', 'admin=/web'],
  ['identity-role', 'break-glass=spiffe://carnet.local/web'],
  ['identity-role', 'boss=spiffe://carnet.local/web'],
  ['leaf-ttl', '5 parsecs'],
  ['leaf-ttl', '0s'],
  ['leaf-ttl', '31d'],
  ['issuing-ca-ttl', '9s'],
  ['root-ca-ttl', '31y'],
  ['not-before-backdate', 'soon'],
  ['http-addr', 'nowhere'],
  ['http-addr', '127.0.0.1:65536'],
  ['trust-domain', 'UPPER.case'],
  ['log-level', 'loud'],
  ['no-agent', 'perhaps'],
  ['root-key-type', 'ec-p224'],
  ['key-encryption-key-file', ''],
  ['key-store', 'cloud'],
  ['pkcs11-slot', '-1'],
  ['federation-addr', 'b.test'],
  ['federation-profile', 'web'],
  ['federation-refresh-hint', '2d'],
  ['database-url', 'mysql://root:hunter2@db/carnet'],
  ['database-owner-url', 'hunter2'],
];

for (const [flag, value] of REFUSED)
  test(`refuses ${flag} ${JSON.stringify(value)} by the name of where it was set`, (t) => {
    const setting = flag.replaceAll('-', '_');
    const sources = [
      [`--${flag}`, () => read({ [flag]: value })],
      ...(value === ''
        ? []
        : [
            [
              `CARNET_${setting.toUpperCase()}`,
              () => read({}, { [`CARNET_${setting.toUpperCase()}`]: value }),
            ],
          ]),
      [setting, () => read({ config: fileOf(`${setting}: ${JSON.stringify(value)}\n`) })],
    ] as [string, () => unknown][];
    for (const [name, parse] of sources) {
      const error = t.throws(parse, { code: 'config_invalid' });
      t.true(error?.message.startsWith(name), error?.message);
      t.notRegex(error?.message ?? '', /hunter2/);
    }
  });

test('refuses a leaf that would outlive its issuing CA, and that one its root', (t) => {
  t.throws(() => read({ 'issuing-ca-ttl': '1h', 'leaf-ttl': '2h' }), { code: 'config_invalid' });
  t.throws(() => read({ 'issuing-ca-ttl': '1h', 'agent-ttl': '2h' }), { code: 'config_invalid' });
  t.throws(() => read({ 'issuing-ca-ttl': '2d', 'root-ca-ttl': '1d' }), { code: 'config_invalid' });
  t.notThrows(() => read({ 'leaf-ttl': '1h', 'issuing-ca-ttl': '1h', 'root-ca-ttl': '1h' }));
});

const TOKEN = { 'pkcs11-module': '/m.so', 'pkcs11-token': 'ca', 'pkcs11-pin-file': '/pin' };

for (const [what, flags, valid] of [
  ['by its label', TOKEN, true],
  ['by its slot', { 'pkcs11-module': '/m.so', 'pkcs11-slot': '0', 'pkcs11-pin-file': '/pin' }, true],
  ['for new keys', { ...TOKEN, 'key-store': 'pkcs11' }, true],
  ['by both', { ...TOKEN, 'pkcs11-slot': '0' }, false],
  ['by neither', { 'pkcs11-module': '/m.so', 'pkcs11-pin-file': '/pin' }, false],
  ['without a PIN', { 'pkcs11-module': '/m.so', 'pkcs11-token': 'ca' }, false],
  ['without a module', { 'pkcs11-token': 'ca', 'pkcs11-pin-file': '/pin' }, false],
  ['for new keys, without any', { 'key-store': 'pkcs11' }, false],
] as [string, Record<string, string>, boolean][])
  test(`${valid ? 'takes' : 'refuses'} a token ${what}`, (t) => {
    if (valid) t.notThrows(() => read(flags));
    else t.throws(() => read(flags), { code: 'config_invalid' });
  });

const ENDPOINT = { 'federation-addr': '0.0.0.0:8444' };
const FILES = { 'federation-cert-file': '/cert.pem', 'federation-key-file': '/key.pem' };

for (const [what, flags, valid] of [
  ['https_spiffe', ENDPOINT, true],
  ['https_web with its files', { ...ENDPOINT, ...FILES, 'federation-profile': 'https_web' }, true],
  ['http', { ...ENDPOINT, 'federation-profile': 'http' }, true],
  ['https_web without files', { ...ENDPOINT, 'federation-profile': 'https_web' }, false],
  [
    'https_web without a key',
    { ...ENDPOINT, 'federation-profile': 'https_web', 'federation-cert-file': '/cert.pem' },
    false,
  ],
  ['https_spiffe with files, which would show nowhere', { ...ENDPOINT, ...FILES }, false],
] as [string, Record<string, string>, boolean][])
  test(`${valid ? 'takes' : 'refuses'} a bundle endpoint by ${what}`, (t) => {
    if (valid) t.notThrows(() => read(flags));
    else t.throws(() => read(flags), { code: 'config_invalid' });
  });

const WEBHOOK = { 'forward-webhook': 'https://siem.example/in', 'forward-webhook-secret-file': '/secret' };

for (const [what, flags, valid] of [
  ['a webhook with its secret', WEBHOOK, true],
  ['a webhook without one', { 'forward-webhook': 'https://siem.example' }, false],
  ['a secret without a webhook', { 'forward-webhook-secret-file': '/secret' }, false],
  [
    'a webhook on this machine in the clear',
    { ...WEBHOOK, 'forward-webhook': 'http://127.0.0.1:9000' },
    true,
  ],
  ['a webhook elsewhere in the clear', { ...WEBHOOK, 'forward-webhook': 'http://siem.example' }, false],
  ['a webhook with a password', { ...WEBHOOK, 'forward-webhook': 'https://a:b@siem.example' }, false],
  ['a certificate without its key', { ...WEBHOOK, 'forward-webhook-cert-file': '/cert.pem' }, false],
  ['syslog', { 'forward-syslog': 'tls://siem.example' }, true],
  ['syslog on an IPv6 address', { 'forward-syslog': 'tls://[::1]:6514' }, true],
  ['syslog in the clear', { 'forward-syslog': 'tcp://siem.example:514' }, false],
  ['syslog with a password', { 'forward-syslog': 'tls://a:b@siem.example' }, false],
  ['syslog on no port', { 'forward-syslog': 'tls://siem.example:0' }, false],
  ['a CA for no syslog', { 'forward-syslog-ca-file': '/ca.pem' }, false],
  ['a beginning of its own', { 'forward-from': 'yesterday' }, false],
] as [string, Record<string, string>, boolean][])
  test(`${valid ? 'takes' : 'refuses'} ${what} to forward to`, (t) => {
    if (valid) t.notThrows(() => read(flags));
    else t.notRegex(t.throws(() => read(flags), { code: 'config_invalid' })?.message ?? '', /a:b/);
  });

test('syslog is at its own port unless told otherwise, and no refusal repeats a webhook', (t) => {
  t.deepEqual(read({ 'forward-syslog': 'tls://siem.example' }).forwardSyslog, {
    host: 'siem.example',
    port: 6514,
  });
  const error = t.throws(() => read({}, { CARNET_FORWARD_WEBHOOK: 'http://siem.example/hidden' }));
  t.regex(error?.message ?? '', /^CARNET_FORWARD_WEBHOOK: it is no webhook/);
  t.false(error?.message.includes('hidden'));
});

test('roles are for identities of our own, where these can be shown', (t) => {
  const web = 'auditor=spiffe://carnet.local/a,admin=spiffe://carnet.local/b';
  const { identityRole } = read({ 'https-addr': '127.0.0.1:8445', 'identity-role': web });
  t.deepEqual(
    identityRole.map(({ role }) => role),
    ['auditor', 'admin'],
  );
  t.throws(() => read({ 'identity-role': web }), { code: 'config_invalid' });
  const foreign = { 'https-addr': '127.0.0.1:8445', 'identity-role': 'admin=spiffe://other.test/a' };
  t.throws(() => read(foreign), { code: 'config_invalid' });
  // Who makes a join token for a node would have its role.
  const agent = 'auditor=spiffe://carnet.local/carnet/agent/node-1';
  const own = { 'https-addr': '127.0.0.1:8445', 'identity-role': agent };
  t.throws(() => read(own), { code: 'config_invalid', message: /Carnet's own/ });
});

const OIDC = {
  'web-url': 'https://carnet.example',
  'oidc-issuer': 'https://id.example/realms/one/',
  'oidc-client-id': 'carnet',
  'oidc-role': 'admin=platform admins, auditor=a=b,auditor=legal',
};

test('a sign-in by OpenID Connect is given whole or not at all', (t) => {
  const { webUrl, oidcIssuer, oidcRole, oidcScope, oidcRoleClaim } = read(OIDC);
  t.is(webUrl, 'https://carnet.example');
  t.is(oidcIssuer, 'https://id.example/realms/one/');
  t.deepEqual(oidcRole, [
    { role: 'admin', value: 'platform admins' },
    { role: 'auditor', value: 'a=b' },
    { role: 'auditor', value: 'legal' },
  ]);
  t.deepEqual([oidcScope, oidcRoleClaim], ['openid email', 'groups']);
  t.notThrows(() => read({ 'web-url': 'http://127.0.0.1:8080' }));
  for (const missing of Object.keys(OIDC)) {
    const flags = Object.fromEntries(Object.entries(OIDC).filter(([flag]) => flag !== missing));
    t.throws(() => read(flags), { code: 'config_invalid' }, missing);
  }
  t.throws(() => read({ 'oidc-client-secret-file': '/secret' }), { code: 'config_invalid' });
});

for (const [what, text] of [
  ['a setting that does not exist', 'leaf_tll: 1m'],
  ['a list for a value', 'leaf_ttl: [1m]'],
  ['a list', '- leaf_ttl'],
  ['what is no YAML', 'leaf_ttl: "1m'],
] as const)
  test(`refuses a file with ${what}`, (t) => {
    const error = t.throws(() => read({ config: fileOf(text) }), { code: 'config_invalid' });
    t.true(error?.message.startsWith('--config '), error?.message);
  });

const W1 = 'witness.example/w1+aa4a09d1+BOpKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs';
const W2 = newCosigner('two.example').vkey;
const W3 = newCosigner('three.example', 6).vkey;

test('witnesses are given by their keys and URLs, each on a line or with commas between', (t) => {
  t.deepEqual(read().witnesses, []);
  const given = `${W1} https://w1.example/prefix/\n${W2} http://127.0.0.1:7380, ${W3}  https://w3.example`;
  t.deepEqual(
    read({ witness: given }).witnesses.map(({ id, url }) => [id.replace(/\+.*/, ''), url]),
    [
      ['witness.example/w1', 'https://w1.example/prefix'],
      ['two.example', 'http://127.0.0.1:7380'],
      ['three.example', 'https://w3.example'],
    ],
  );
  const config = fileOf(`witness: |\n  ${W1} https://a.example\n  ${W2} https://b.example\n`);
  t.is(read({ config }).witnesses.length, 2);
});

test('the flag of a witness may be given several times, that of another setting only once', (t) => {
  const command = new Command('server').exitOverride();
  addSettings(command, SERVER_SETTINGS);
  const flags = ['--witness', `${W1} https://a.example`, '--witness', `${W2} https://b.example`];
  command.parse([...flags, '--leaf-ttl', '1m', '--leaf-ttl', '2m'], { from: 'user' });
  const config = readServerConfig(flagsOf(command), {});
  t.is(config.witnesses.length, 2);
  t.is(config.leafTtl, 120);
});

test('a checkpoint is published with one cosignature where there are witnesses, by default', (t) => {
  const witness = `${W1} https://a.example, ${W2} https://b.example`;
  t.is(quorumOf(read()), 0);
  t.is(quorumOf(read({ witness })), 1);
  t.is(quorumOf(read({ witness, 'witness-quorum': '0' })), 0);
  t.is(quorumOf(read({ witness, 'witness-quorum': '2' })), 2);
});

for (const [what, flags] of [
  ['without a URL', { witness: W1 }],
  ['without a key', { witness: 'https://a:b@a.example' }],
  ['with the key of a log', { witness: `${W1.replace('+BO', '+AO')} https://a.example` }],
  ['with a password in its URL', { witness: `${W1} https://a:b@a.example` }],
  ['that is not reached by HTTP', { witness: `${W1} ftp://a.example` }],
  ['with a query in its URL', { witness: `${W1} https://a.example?x` }],
  ['that is given twice', { witness: `${W1} https://a.example, ${W1} https://b.example` }],
] as const)
  test(`refuses a witness ${what}`, (t) => {
    const error = t.throws(() => read(flags), { message: /^--witness: / });
    t.notRegex(error?.message ?? '', /a:b/);
  });

for (const [flag, value] of [
  ['witness-quorum', '1'],
  ['witness-quorum', '-1'],
  ['witness-quorum', 'all'],
  ['witness-interval', '0s'],
  ['witness-interval', '2m'],
] as const)
  test(`refuses --${flag} ${value} without witnesses`, (t) => {
    t.throws(() => read({ [flag]: value }), { message: new RegExp(`^--${flag}`) });
  });
