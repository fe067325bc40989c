import type { Address } from '../setting-values.ts';
import type { Json, JsonObject } from './envoy-json.ts';
import { type SdsServer, sdsServerCluster } from './envoy-sds-server.ts';

/** What an Envoy is to do: take mTLS for a local app, or carry a local app's calls to a peer, or both. */
export interface EnvoyOptions {
  /** Where SDS is: an agent's socket, or a server. */
  readonly sdsFrom: string | SdsServer;
  readonly nodeId: string;
  /** A path is a Unix socket's. */
  readonly admin: Address | { readonly path: string };
  /** State of the world, or only what changed. */
  readonly apiType: 'GRPC' | 'DELTA_GRPC';
  /** Peers may be of other trust domains: each is verified by its own. By default all are of the agent's. */
  readonly federated?: boolean;
  readonly inbound: EnvoyInbound | null;
  readonly outbound: readonly EnvoyOutbound[];
}

export interface EnvoyInbound {
  /** Where peers connect to, by mTLS. */
  readonly listen: Address;
  /** The app behind, in plain HTTP. */
  readonly app: Address;
  /** Whose certificates are accepted: SPIFFE IDs, or prefixes that end in `/`. */
  readonly peers: readonly string[];
  /** Added to each response; values in Envoy's substitution format. */
  readonly responseHeaders?: Readonly<Record<string, string>>;
}

export interface EnvoyOutbound {
  /** Of its listener and its cluster. */
  readonly name: string;
  /** Where the local app connects to, in plain HTTP. */
  readonly listen: Address;
  /** The peer's mTLS listener. */
  readonly upstream: Address;
  /** Whose certificate the peer must show. */
  readonly peers: readonly string[];
  readonly responseHeaders?: Readonly<Record<string, string>>;
  /** Requests on one connection to the peer; 1 makes a TLS handshake of each. Unlimited by default. */
  readonly requestsPerConnection?: number;
}

const TLS = 'type.googleapis.com/envoy.extensions.transport_sockets.tls.v3';
const AGENT = 'carnet_agent';
const SERVER = 'carnet_server';
/** An agent that is back is found within a second; Envoy's own way is up to 30 s apart. */
const RECONNECT = { retry_back_off: { base_interval: '0.1s', max_interval: '1s' } };
/** A server has the proxies of many nodes to take back, and those that it refuses. */
const RECONNECT_SERVER = { retry_back_off: { base_interval: '0.5s', max_interval: '10s' } };

/** A complete Envoy v3 bootstrap configuration, which takes keys, certificates and trust from SDS alone. */
export function envoyBootstrap(options: EnvoyOptions): JsonObject {
  const { inbound, outbound } = options;
  return {
    node: { id: options.nodeId, cluster: options.nodeId, ...metadataOf(options) },
    admin: {
      address:
        'path' in options.admin ? { pipe: { path: options.admin.path } } : socketAddress(options.admin),
    },
    static_resources: {
      listeners: [
        ...(inbound === null ? [] : [httpListener('inbound', inbound, downstreamTls(options, inbound))]),
        ...outbound.map((side) => httpListener(side.name, side, null)),
      ],
      clusters: [
        sdsCluster(options.sdsFrom),
        ...(inbound === null ? [] : [cluster('inbound', inbound.app, null)]),
        ...outbound.map((side) => peerCluster(options, side)),
      ],
    },
  };
}

/** Where the agent finds the admin interface, to see what is in use: on its own machine or not at all. */
function metadataOf({ admin, sdsFrom }: EnvoyOptions): JsonObject {
  if (typeof sdsFrom !== 'string') return {};
  const address = 'path' in admin ? admin.path : loopbackAddress(admin);
  return address === null ? {} : { metadata: { carnet_admin_address: address } };
}

function loopbackAddress({ host, port }: Address): string | null {
  if (port === 0) return null;
  if (host === '::1' || host === '::') return `[::1]:${port}`;
  return ['127.0.0.1', 'localhost', '0.0.0.0'].includes(host) ? `127.0.0.1:${port}` : null;
}

function downstreamTls(options: EnvoyOptions, { peers }: EnvoyInbound): Json {
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': `${TLS}.DownstreamTlsContext`,
      require_client_certificate: true,
      // A resumed session is not checked against the trust of today.
      disable_stateless_session_resumption: true,
      disable_stateful_session_resumption: true,
      common_tls_context: commonTls(options, peers),
    },
  };
}

function upstreamTls(options: EnvoyOptions, { peers }: EnvoyOutbound): Json {
  return {
    name: 'envoy.transport_sockets.tls',
    typed_config: {
      '@type': `${TLS}.UpstreamTlsContext`,
      max_session_keys: 0,
      common_tls_context: commonTls(options, peers),
    },
  };
}

function commonTls(options: EnvoyOptions, peers: readonly string[]): Json {
  // One spelling of the source for every secret, or Envoy opens a stream for each.
  const sdsConfig = {
    resource_api_version: 'V3',
    api_config_source: {
      api_type: options.apiType,
      transport_api_version: 'V3',
      set_node_on_first_message_only: true,
      grpc_services: [
        {
          envoy_grpc:
            typeof options.sdsFrom === 'string'
              ? { cluster_name: AGENT, retry_policy: RECONNECT }
              : { cluster_name: SERVER, retry_policy: RECONNECT_SERVER },
        },
      ],
    },
  };
  return {
    tls_params: { tls_minimum_protocol_version: 'TLSv1_3', tls_maximum_protocol_version: 'TLSv1_3' },
    tls_certificate_sds_secret_configs: [{ name: 'default', sds_config: sdsConfig }],
    combined_validation_context: {
      default_validation_context: {
        match_typed_subject_alt_names: peers.map((peer) => ({
          san_type: 'URI',
          matcher: peer.endsWith('/') ? { prefix: peer } : { exact: peer },
        })),
      },
      validation_context_sds_secret_config: {
        name: options.federated === true ? 'ALL' : 'ROOTCA',
        sds_config: sdsConfig,
      },
    },
  };
}

function httpListener(name: string, side: EnvoyInbound | EnvoyOutbound, transportSocket: Json | null): Json {
  const headers = Object.entries(side.responseHeaders ?? {}).map(([key, value]) => ({
    header: { key, value },
  }));
  return {
    name,
    address: socketAddress(side.listen),
    filter_chains: [
      {
        filters: [
          {
            name: 'envoy.filters.network.http_connection_manager',
            typed_config: {
              '@type':
                'type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager',
              stat_prefix: name,
              route_config: {
                response_headers_to_add: headers,
                virtual_hosts: [
                  { name, domains: ['*'], routes: [{ match: { prefix: '/' }, route: { cluster: name } }] },
                ],
              },
              http_filters: [
                {
                  name: 'envoy.filters.http.router',
                  typed_config: {
                    '@type': 'type.googleapis.com/envoy.extensions.filters.http.router.v3.Router',
                  },
                },
              ],
            },
          },
        ],
        ...(transportSocket === null ? {} : { transport_socket: transportSocket }),
      },
    ],
  };
}

function sdsCluster(where: EnvoyOptions['sdsFrom']): Json {
  return typeof where === 'string' ? agentCluster(where) : sdsServerCluster(SERVER, where);
}

function agentCluster(path: string): Json {
  return {
    name: AGENT,
    connect_timeout: '1s',
    typed_extension_protocol_options: httpProtocol({ explicit_http_config: { http2_protocol_options: {} } }),
    load_assignment: {
      cluster_name: AGENT,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: { pipe: { path } } } }] }],
    },
  };
}

function peerCluster(options: EnvoyOptions, outbound: EnvoyOutbound): Json {
  const plain = cluster(outbound.name, outbound.upstream, upstreamTls(options, outbound));
  if (outbound.requestsPerConnection === undefined) return plain;
  return {
    ...plain,
    typed_extension_protocol_options: httpProtocol({
      explicit_http_config: { http_protocol_options: {} },
      common_http_protocol_options: { max_requests_per_connection: outbound.requestsPerConnection },
    }),
  };
}

function cluster(name: string, address: Address, transportSocket: Json | null): JsonObject {
  return {
    name,
    type: 'STRICT_DNS',
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: [{ endpoint: { address: socketAddress(address) } }] }],
    },
    ...(transportSocket === null ? {} : { transport_socket: transportSocket }),
  };
}

function httpProtocol(options: JsonObject): Json {
  const name = 'envoy.extensions.upstreams.http.v3.HttpProtocolOptions';
  return { [name]: { '@type': `type.googleapis.com/${name}`, ...options } };
}

function socketAddress({ host, port }: Address): Json {
  return { socket_address: { address: host, port_value: port } };
}
