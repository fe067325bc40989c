import { dirname, join } from 'node:path';
import { serverIdOf } from '../agent/identity.ts';
import type { TrustDomain } from '../identity/spiffe-id.ts';
import type { Address } from '../setting-values.ts';
import type { Json, JsonObject } from './envoy-json.ts';

/** A server that an Envoy takes SDS from without an agent, and by what it is let in. All paths are absolute. */
export interface SdsServer {
  readonly address: Address;
  /** The server's. */
  readonly trustDomain: TrustDomain;
  /** Roots of the trust domain, PEM. */
  readonly bundleFile: string;
  /** An X.509-SVID in a directory, as `carnet fetch --write` makes it; or a file with a token. */
  readonly credential: { readonly svidDir: string } | { readonly tokenFile: string };
  /** Where {@link credentialFiles} are. */
  readonly credentialsDir: string;
}

const TLS = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3';
const UPSTREAM_CODEC = 'type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec';
const INJECTOR =
  'type.googleapis.com/envoy.extensions.filters.http.credential_injector.v3.CredentialInjector';
const INJECTED = 'type.googleapis.com/envoy.extensions.http.injected_credentials.generic.v3.Generic';

/**
 * What tells Envoy to follow a file (SDS from the file system): it reads those that its own configuration names once,
 * at its start. One secret a file; none holds a secret itself.
 */
export function credentialFiles(
  server: SdsServer,
): { readonly path: string; readonly content: JsonObject }[] {
  const { bundleFile, credential } = server;
  const roots = {
    validation_context: { trusted_ca: fileOf(bundleFile), watched_directory: watched(bundleFile) },
  };
  if ('tokenFile' in credential) {
    const { tokenFile } = credential;
    const token = {
      generic_secret: { secret: { ...fileOf(tokenFile), watched_directory: watched(tokenFile) } },
    };
    return [secretFile(server, 'carnet_roots', roots), secretFile(server, 'carnet_token', token)];
  }
  const [chain, key] = [join(credential.svidDir, 'svid.pem'), join(credential.svidDir, 'svid.key')];
  const svid = {
    tls_certificate: {
      certificate_chain: fileOf(chain),
      private_key: fileOf(key),
      watched_directory: watched(chain),
    },
  };
  return [secretFile(server, 'carnet_roots', roots), secretFile(server, 'carnet_svid', svid)];
}

/** The cluster under this name, by which Envoy reaches the server: known by its SPIFFE ID, and by the roots in the file. */
export function sdsServerCluster(name: string, server: SdsServer): JsonObject {
  const { address, credential, trustDomain } = server;
  const byToken = 'tokenFile' in credential;
  return {
    name,
    type: 'STRICT_DNS',
    typed_extension_protocol_options: http2Options(
      byToken ? [tokenInjector(server), { name: 'codec', typed_config: { '@type': UPSTREAM_CODEC } }] : [],
    ),
    load_assignment: {
      cluster_name: name,
      endpoints: [
        {
          lb_endpoints: [
            {
              endpoint: {
                address: { socket_address: { address: address.host, port_value: address.port } },
              },
            },
          ],
        },
      ],
    },
    transport_socket: {
      name: 'envoy.transport_sockets.tls',
      typed_config: {
        '@type': `${TLS}.UpstreamTlsContext`,
        max_session_keys: 0,
        common_tls_context: {
          alpn_protocols: ['h2'],
          tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
          ...(byToken ? {} : { tls_certificate_sds_secret_configs: [secretConfig(server, 'carnet_svid')] }),
          combined_validation_context: {
            default_validation_context: {
              match_typed_subject_alt_names: [
                { san_type: 'URI', matcher: { exact: serverIdOf(trustDomain) } },
              ],
            },
            validation_context_sds_secret_config: secretConfig(server, 'carnet_roots'),
          },
        },
      },
    },
  };
}

/** The file is read again when it changes, and the token goes with each call from then on. */
function tokenInjector(server: SdsServer): JsonObject {
  return {
    name: 'token',
    typed_config: {
      '@type': INJECTOR,
      overwrite: true,
      credential: {
        name: 'envoy.http.injected_credentials.generic',
        typed_config: {
          '@type': INJECTED,
          credential: secretConfig(server, 'carnet_token'),
          header: 'authorization',
          header_value_prefix: 'Bearer ',
        },
      },
    },
  };
}

function http2Options(filters: readonly Json[]): JsonObject {
  const name = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';
  // A server that is gone without a word is noticed.
  const http2 = { connection_keepalive: { interval: '30s', timeout: '10s' } };
  return {
    [name]: {
      '@type': `type.googleapis.com/${name}`,
      explicit_http_config: { http2_protocol_options: http2 },
      ...(filters.length === 0 ? {} : { http_filters: filters }),
    },
  };
}

function secretFile(
  { credentialsDir }: SdsServer,
  name: string,
  secret: JsonObject,
): { readonly path: string; readonly content: JsonObject } {
  return {
    path: join(credentialsDir, `${name}.json`),
    content: { resources: [{ '@type': `${TLS}.Secret`, name, ...secret }] },
  };
}

function secretConfig({ credentialsDir }: SdsServer, name: string): JsonObject {
  return {
    name,
    sds_config: {
      resource_api_version: 'V3',
      path_config_source: { path: join(credentialsDir, `${name}.json`) },
    },
  };
}

function fileOf(path: string): JsonObject {
  return { filename: path };
}

/** Files are replaced by a rename in their directory, of their own or of a link that they are behind. */
function watched(path: string): JsonObject {
  return { path: dirname(path) };
}
