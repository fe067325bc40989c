import { dirname, join } from 'node:path';
import test from 'ava';
import { readNodeAttestation } from '../../../src/attestation/node/config.ts';
import { openNodeAttestors } from '../../../src/cli/node-attestors.ts';
import { parseTrustDomain } from '../../../src/identity/spiffe-id.ts';
import { MachineCa } from '../machine-ca.ts';

const ca = new MachineCa();
test.after.always(() => ca.remove());
const neverUsed = { isFirst: async () => true };
const root = ca.root('/CN=machines');

const X509POP = `x509pop: { ca_file: ${root.certificateFile}, name_prefix: m. }`;
const CLUSTER = (more = '') => `- name: production
    name_prefix: k.
    service_accounts: [carnet/agent]
    issuer: https://kubernetes.default.svc
    ${more}`;
const ISSUER = (more = '') => `- name: ci
    name_prefix: ci.
    issuer: https://token.actions.example
    audience: carnet
    node_name: runner
    required: { repository_owner: [example, example-labs] }
    ${more}`;

test('a file with all of the methods is read whole, with its defaults, and its paths are beside it', (t) => {
  const file = ca.write(`${X509POP}
k8s_psat:
  ${CLUSTER('jwks_file: keys.json')}
oidc:
  ${ISSUER('selectors: { repository: repository }')}
`);
  const config = readNodeAttestation(file);
  t.like(config.x509pop, { ca_file: root.certificateFile, node_name: 'common_name' });
  t.like(config.k8s_psat?.[0], {
    audience: 'carnet',
    max_age: 3600,
    jwks_file: join(dirname(file), 'keys.json'),
  });
  t.like(config.oidc?.[0], {
    algorithms: ['RS256', 'ES256'],
    max_age: 3600,
    reattest: false,
    required: { repository_owner: ['example', 'example-labs'] },
    selectors: { repository: 'repository' },
  });
});

test('the methods of the file are opened, none without one', (t) => {
  const trustDomain = parseTrustDomain('example.org');
  const file = ca.write(`${X509POP}\noidc:\n  ${ISSUER()}\nk8s_psat:\n  ${CLUSTER()}\n`);
  using opened = openNodeAttestors({ nodeAttestation: file, trustDomain }, neverUsed, Date.now);
  t.deepEqual(
    opened.attestors.map(({ method }) => method),
    ['x509pop', 'k8s_psat', 'oidc'],
  );
  t.deepEqual(openNodeAttestors({ nodeAttestation: null, trustDomain }, neverUsed, Date.now).attestors, []);
});

for (const [claim, text, says] of [
  ['is no YAML', 'x509pop: {', /--node-attestation .*:/],
  ['has a method that does not exist', 'aws: {}', /Unrecognized key: "aws"/],
  ['has a setting that does not exist', 'x509pop: { ca_file: a, ca: b }', /Unrecognized key: "ca"/],
  ['has no CA for machines', 'x509pop: {}', /ca_file/],
  [
    'allows every service account',
    `k8s_psat:\n  - { name: a, issuer: x, service_accounts: [] }`,
    /service_accounts/,
  ],
  [
    'names a service account without its namespace',
    `k8s_psat:\n  - { name: a, issuer: x, service_accounts: [agent] }`,
    /NAMESPACE\/NAME/,
  ],
  [
    'has two ways to verify',
    `k8s_psat:\n  ${CLUSTER('token_review: in-cluster\n    jwks_file: a')}`,
    /give one of token_review/,
  ],
  ['has none', 'k8s_psat:\n  - { name: a, service_accounts: [a/b] }', /the issuer must be given/],
  [
    'has a CA that nothing needs',
    `k8s_psat:\n  ${CLUSTER('jwks_file: a\n    ca_file: b')}`,
    /ca_file is for keys that are fetched/,
  ],
  [
    'has keys that come without TLS',
    `oidc:\n  ${ISSUER('jwks_url: http://keys.example')}`,
    /must be an https address/,
  ],
  [
    'has an issuer without TLS',
    `oidc:\n  ${ISSUER().replace('https:', 'http:')}`,
    /must be an https address/,
  ],
  ['takes shared secrets', `oidc:\n  ${ISSUER('algorithms: [HS256]')}`, /algorithms/],
  [
    'lets in whoever has a token',
    `oidc:\n  ${ISSUER().replace(/required:.*/, 'required: {}')}`,
    /name a claim and its value/,
  ],
  ['has no audience', `oidc:\n  ${ISSUER().replace('audience: carnet', '')}`, /audience/],
  ['has a duration that is none', `oidc:\n  ${ISSUER('max_age: soon')}`, /is not a duration/],
  [
    'has two sources without prefixes',
    `x509pop: { ca_file: a }\noidc:\n  ${ISSUER()}`,
    /each needs a name_prefix/,
  ],
  [
    'has a prefix that begins another',
    `${X509POP}\noidc:\n  ${ISSUER().replace('ci.', 'm.ci.')}`,
    /none may begin with another/,
  ],
  [
    'has two clusters that nobody can tell apart',
    `k8s_psat:\n  ${CLUSTER()}\n  ${CLUSTER().replace('production', 'staging').replace('k.', 's.')}`,
    /an issuer of its own/,
  ],
  [
    'has an issuer twice',
    `oidc:\n  ${ISSUER()}\n  ${ISSUER().replace('ci\n', 'cd\n').replace('ci.', 'cd.')}`,
    /the same issuer/,
  ],
] as const)
  test(`refuses a file that ${claim}`, (t) => {
    t.throws(() => readNodeAttestation(ca.write(text)), { code: 'config_invalid', message: says });
  });

for (const [claim, text, says] of [
  ['a CA file that is not there', 'x509pop: { ca_file: nowhere }', /nowhere can't be read \(ENOENT\)/],
  ['a CA file without a certificate', `x509pop: { ca_file: ${ca.write('')} }`, /has no certificate/],
  [
    'a CA file that is a key',
    `x509pop: { ca_file: ${root.keyFile} }`,
    /not a sequence of CERTIFICATE blocks/,
  ],
  ['a kubeconfig that is not there', `k8s_psat:\n  ${CLUSTER('token_review: nowhere')}`, /nowhere/],
] as const)
  test(`refuses ${claim}, at the start`, (t) => {
    const options = { nodeAttestation: ca.write(text), trustDomain: parseTrustDomain('example.org') };
    t.throws(() => openNodeAttestors(options, neverUsed, Date.now), {
      code: 'config_invalid',
      message: says,
    });
  });

test('refuses a file that is not there, by its name', (t) => {
  t.throws(() => readNodeAttestation('/nowhere/nodes.yaml'), {
    code: 'config_invalid',
    message: /\/nowhere\/nodes/,
  });
});
