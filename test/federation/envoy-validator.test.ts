import test from 'ava';
import { encodePem } from '../../src/x509/pem.ts';
import { startEnvoy } from '../support/envoy.ts';
import { askWith } from '../support/federated.ts';
import { createDomain, type Domain } from './domain.ts';

/** What Carnet's federation counts on in Envoy, and what it must not count on: docs/FEDERATION.md has it as a table. */

const TLS = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3';
const [A, B] = await Promise.all(['a.test', 'b.test'].map(createDomain));
if (A === undefined || B === undefined) throw new Error('two domains were asked for');
const [roots, bRoots] = [pemOf(A), pemOf(B)];
const callers = {
  own: await A.leaf('spiffe://a.test/web'),
  revoked: await A.leaf('spiffe://a.test/web'),
  foreign: await B.leaf('spiffe://b.test/web'),
  'foreign, another name': await B.leaf('spiffe://b.test/other'),
  'foreign, with a name of ours': await B.leaf('spiffe://a.test/web'),
  'ours, with a foreign name': await A.leaf('spiffe://b.test/web'),
};
type Caller = keyof typeof callers;
const { issuing, root } = await A.crls([callers.revoked.serial]);

const ALL: readonly Caller[] = Object.keys(callers) as Caller[];
const BY_NAME: readonly Caller[] = ['own', 'revoked', 'foreign', 'foreign, another name'];
const WITHOUT_REVOKED = BY_NAME.filter((caller) => caller !== 'revoked');

const FACTS: readonly [claim: string, context: object, accepted: readonly Caller[]][] = [
  ['the plain trusted CA takes any name from any root', { trusted_ca: inline(roots + bRoots) }, ALL],
  [
    'the plain trusted CA with CRLs of one domain refuses all of the other',
    { trusted_ca: inline(roots + bRoots), crl: inline(issuing + root) },
    ['own', 'ours, with a foreign name'],
  ],
  ['the SPIFFE validator takes names from their own domain alone', spiffe(roots, bRoots), BY_NAME],
  [
    'the SPIFFE validator takes CRLs beside the roots, for their domain alone',
    spiffe(roots + issuing + root, bRoots),
    WITHOUT_REVOKED,
  ],
  [
    'the SPIFFE validator passes over the crl of the context',
    { ...spiffe(roots, bRoots), crl: inline(issuing + root) },
    BY_NAME,
  ],
  [
    'the SPIFFE validator refuses the whole domain where one CA of the chain has no CRL',
    spiffe(roots + issuing, bRoots),
    ['foreign', 'foreign, another name'],
  ],
  [
    'the SPIFFE validator passes over only_verify_leaf_cert_crl',
    { ...spiffe(roots + issuing, bRoots), only_verify_leaf_cert_crl: true },
    ['foreign', 'foreign, another name'],
  ],
  [
    'the SPIFFE validator passes over trusted_ca',
    { ...spiffe(roots), trusted_ca: inline(bRoots) },
    ['own', 'revoked'],
  ],
  [
    'names are matched besides the SPIFFE validator',
    {
      ...spiffe(roots, bRoots),
      match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: 'spiffe://b.test/web' } }],
    },
    ['foreign'],
  ],
  ['the SPIFFE validator without any domain takes nobody', spiffe(), []],
];

test('Envoy does with validation contexts what federation counts on', async (t) => {
  const identity = await A.leaf('spiffe://a.test/server');
  const listeners = FACTS.map(([name, context]) => ({
    name,
    address: { socket_address: { address: '127.0.0.1', port_value: 0 } },
    filter_chains: [
      {
        transport_socket: {
          name: 'tls',
          typed_config: {
            '@type': `${TLS}.DownstreamTlsContext`,
            require_client_certificate: true,
            common_tls_context: {
              tls_certificates: [
                { certificate_chain: inline(identity.chain), private_key: inline(identity.privateKey) },
              ],
              validation_context: context,
            },
          },
        },
        filters: [answerAll()],
      },
    ],
  }));
  const envoy = await startEnvoy({ config: { static_resources: { listeners } } });
  try {
    await envoy.ready();
    for (const [claim, , accepted] of FACTS) {
      const port = await envoy.listenerPort(claim);
      for (const caller of ALL) {
        const status = await askWith(callers[caller], port);
        t.is(status, accepted.includes(caller) ? 200 : null, `${claim}: ${caller}`);
      }
    }
  } finally {
    await envoy.stop();
  }
});

function spiffe(...bundles: readonly string[]): object {
  const trust_domains = bundles.map((pem, i) => ({
    name: i === 0 ? 'a.test' : 'b.test',
    trust_bundle: inline(pem),
  }));
  const typed_config = { '@type': `${TLS}.SPIFFECertValidatorConfig`, trust_domains };
  return { custom_validator_config: { name: 'envoy.tls.cert_validator.spiffe', typed_config } };
}

function inline(text: string): object {
  return { inline_string: text };
}

function pemOf({ bundle }: Domain): string {
  return bundle.x509Authorities.map((der) => encodePem('CERTIFICATE', der)).join('');
}

function answerAll(): object {
  const filters = 'type.googleapis.com/envoy.extensions.filters';
  return {
    name: 'http',
    typed_config: {
      '@type': `${filters}.network.http_connection_manager.v3.HttpConnectionManager`,
      stat_prefix: 'http',
      http_filters: [{ name: 'router', typed_config: { '@type': `${filters}.http.router.v3.Router` } }],
      route_config: {
        virtual_hosts: [
          {
            name: 'all',
            domains: ['*'],
            routes: [{ match: { prefix: '/' }, direct_response: { status: 200 } }],
          },
        ],
      },
    },
  };
}
