import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import anyTest, { type TestFn } from 'ava';
import type { CreatedAuthority } from '../../src/ca/create-authority.ts';
import { X509_SVID } from '../../src/ca/profile.ts';
import { leafIssuer, signLeaf } from '../../src/ca/sign-leaf.ts';
import { KEY_ALGORITHMS } from '../../src/ca/signer.ts';
import { encodePem } from '../../src/x509/pem.ts';
import type { KeyKind } from '../../src/x509/public-key.ts';
import { SERIAL_BYTES } from '../../src/x509/serial.ts';
import { accepts } from '../support/accepts.ts';
import { until } from '../support/until.ts';
import { venvProgram } from '../support/venv.ts';
import { keyIdentifierOf } from '../x509/certificates.ts';
import { generateKeys, type KeyPair, spkiOf } from '../x509/keys.ts';
import { createAuthorities } from './authorities.ts';

/** Two ends of one real Envoy, one calling the other with mutual TLS, both with a leaf of this kind. */
interface Pair {
  readonly name: string;
  readonly rootPem: string;
  readonly chainPem: string;
  readonly keyPem: string;
  readonly version: TlsVersion;
}

const READY = 'all dependencies initialized. starting workers';

/** Kind of leaf, TLS version, and what comes back: 503 where the two ends do not agree. */
const LEAVES: readonly [KeyKind, TlsVersion, number][] = [
  ['ec-p256', 'default', 200],
  ['rsa', 'default', 200],
  // An Envoy calls others by TLS 1.2, where the curve of a leaf must be among its ecdh_curves: X25519 and P-256.
  ['ec-p384', 'default', 503],
  ['ec-p384', 'TLSv1_3', 200],
  // BoringSSL signs with Ed25519, but offers it to nobody.
  ['ed25519', 'default', 503],
  ['ed25519', 'TLSv1_3', 503],
];
type TlsVersion = 'default' | 'TLSv1_3';

const test = anyTest as TestFn<{ directory: string; envoy?: ChildProcess }>;

test.before(async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'carnet-envoy-'));
  t.context = { directory };
  const pairs: Pair[] = [];
  for (const algorithm of KEY_ALGORITHMS) {
    const { root, issuing } = await createAuthorities(algorithm);
    for (const [kind, version] of LEAVES)
      pairs.push({
        ...(await identityOf(root, issuing, generateKeys(kind))),
        name: `${algorithm}-${kind}-${version}`,
        version,
      });
  }
  const config = join(directory, 'envoy.json');
  await writeFile(config, JSON.stringify(envoyConfig(directory, pairs)));
  t.context.envoy = await startEnvoy(config);
});

test.after.always(async ({ context: { directory, envoy } }) => {
  if (envoy?.exitCode === null) {
    envoy.kill('SIGKILL');
    await once(envoy, 'exit');
  }
  await rm(directory, { recursive: true, force: true });
});

for (const algorithm of KEY_ALGORITHMS)
  for (const [kind, version, status] of LEAVES)
    test(`Envoy ${status === 200 ? 'loads, presents and accepts' : 'does not take'} an ${kind} leaf of an ${algorithm} CA (TLS ${version})`, async (t) => {
      t.is(await call(t.context.directory, `${algorithm}-${kind}-${version}`), status);
    });

/** The leaf is signed past `issue`, which would refuse an Ed25519 key. */
async function identityOf(
  root: CreatedAuthority,
  issuing: CreatedAuthority,
  keys: KeyPair,
): Promise<Omit<Pair, 'name' | 'version'>> {
  const { notBefore } = issuing.stored;
  const leaf = await signLeaf(leafIssuer(issuing.signing, X509_SVID), {
    serial: randomBytes(SERIAL_BYTES),
    notBefore,
    notAfter: new Date(notBefore.getTime() + 3600_000),
    spki: spkiOf(keys),
    subjectKeyIdentifier: keyIdentifierOf(keys),
    spiffeId: 'spiffe://carnet.test/web',
    dnsNames: [],
  });
  return {
    rootPem: encodePem('CERTIFICATE', root.stored.certificate),
    chainPem: [leaf, ...issuing.signing.chain].map((der) => encodePem('CERTIFICATE', der)).join(''),
    keyPem: keys.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
  };
}

async function startEnvoy(config: string): Promise<ChildProcess> {
  const envoy = spawn(
    venvProgram('envoy'),
    ['-c', config, '-l', 'info', '--concurrency', '1', '--disable-hot-restart'],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  let log = '';
  const ready = new Promise<void>((resolve) => {
    envoy.stderr.setEncoding('utf8').on('data', (text: string) => {
      log += text;
      if (log.includes(READY)) resolve();
    });
  });
  await Promise.race([ready, once(envoy, 'exit')]);
  if (!log.includes(READY)) throw new Error(`Envoy did not start:\n${log}`);
  return envoy;
}

/** Asks the calling end, which asks the called end over mutual TLS; 503 if that fails. */
async function call(directory: string, name: string): Promise<number | undefined> {
  const socketPath = join(directory, `${name}.client`);
  // Its workers listen a little later than it says that they start.
  await until(`${name} listens`, () => accepts({ path: socketPath }));
  const request = get({ socketPath, path: '/', agent: false });
  const [response] = await once(request, 'response');
  response.resume();
  return response.statusCode;
}

function envoyConfig(directory: string, pairs: readonly Pair[]): object {
  return {
    static_resources: {
      listeners: pairs.flatMap((pair) => [
        listener(`${directory}/${pair.name}.client`, { cluster: pair.name }, undefined),
        listener(`${directory}/${pair.name}.server`, undefined, {
          ...typed('extensions.transport_sockets.tls.v3.DownstreamTlsContext'),
          require_client_certificate: true,
          common_tls_context: tlsContext(pair),
        }),
      ]),
      clusters: pairs.map((pair) => ({
        name: pair.name,
        load_assignment: {
          cluster_name: pair.name,
          endpoints: [
            { lb_endpoints: [{ endpoint: { address: pipe(`${directory}/${pair.name}.server`) } }] },
          ],
        },
        transport_socket: {
          name: 'tls',
          typed_config: {
            ...typed('extensions.transport_sockets.tls.v3.UpstreamTlsContext'),
            common_tls_context: tlsContext(pair),
          },
        },
      })),
    },
  };
}

function listener(path: string, route: object | undefined, tls: object | undefined): object {
  const answer = route === undefined ? { direct_response: { status: 200 } } : { route };
  return {
    name: path,
    address: pipe(path),
    filter_chains: [
      {
        ...(tls === undefined ? {} : { transport_socket: { name: 'tls', typed_config: tls } }),
        filters: [
          {
            name: 'http',
            typed_config: {
              ...typed('extensions.filters.network.http_connection_manager.v3.HttpConnectionManager'),
              stat_prefix: 'http',
              http_filters: [
                { name: 'router', typed_config: typed('extensions.filters.http.router.v3.Router') },
              ],
              route_config: {
                virtual_hosts: [
                  { name: 'all', domains: ['*'], routes: [{ match: { prefix: '/' }, ...answer }] },
                ],
              },
            },
          },
        ],
      },
    ],
  };
}

function tlsContext({ rootPem, chainPem, keyPem, version }: Pair): object {
  return {
    ...(version === 'default'
      ? {}
      : { tls_params: { tls_minimum_protocol_version: version, tls_maximum_protocol_version: version } }),
    tls_certificates: [
      { certificate_chain: { inline_string: chainPem }, private_key: { inline_string: keyPem } },
    ],
    validation_context: {
      trusted_ca: { inline_string: rootPem },
      match_typed_subject_alt_names: [{ san_type: 'URI', matcher: { exact: 'spiffe://carnet.test/web' } }],
    },
  };
}

function typed(name: string): object {
  return { '@type': `type.googleapis.com/envoy.${name}` };
}

function pipe(path: string): object {
  return { pipe: { path } };
}
