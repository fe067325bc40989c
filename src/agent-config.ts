import { join, resolve } from 'node:path';
import { ATTESTATION_SETTINGS, checkAttestation } from './attestation-settings.ts';
import { CarnetError } from './errors.ts';
import { parseTrustDomain } from './identity/spiffe-id.ts';
import { LOG_LEVELS, type LogLevel } from './log.ts';
import {
  type Address,
  booleanOf,
  logLevelOf,
  oneOf,
  oneOfHelp,
  parseAddress,
  pathOf,
} from './setting-values.ts';
import { readSettings, type Settings, type SettingValues, setting } from './settings.ts';

export const ATTEST_METHODS = ['join_token', 'x509pop', 'k8s_psat', 'oidc'] as const;
export type AttestMethod = (typeof ATTEST_METHODS)[number];

/** Where Kubernetes puts a token that is projected by the manifests of k8s/. */
const PROJECTED_TOKEN = '/var/run/secrets/carnet/token';

/** Settings of `carnet agent`. Public: add to them, do not rename. */
export const AGENT_SETTINGS = {
  serverAddr: setting<readonly Address[]>(
    'server-addr',
    'HOST:PORT,…',
    "the servers' gRPC addresses, tried in turn",
    serversOf,
    [],
  ),
  trustDomain: setting(
    'trust-domain',
    'NAME',
    'trust domain',
    parseTrustDomain,
    parseTrustDomain('carnet.local'),
  ),
  attestMethod: setting<AttestMethod>(
    'attest-method',
    'METHOD',
    oneOfHelp('how this node proves who it is', ATTEST_METHODS),
    (value) => oneOf(ATTEST_METHODS, value),
    'join_token',
  ),
  joinToken: setting<string | null>(
    'join-token',
    'TOKEN',
    'a join token; better in CARNET_JOIN_TOKEN or a file, because every user sees command lines',
    (value) => value,
    null,
  ),
  joinTokenFile: setting<string | null>(
    'join-token-file',
    'PATH',
    'the join token, in a file; a new one written there is taken when one is needed',
    pathOf,
    null,
  ),
  x509popCertFile: setting<string | null>(
    'x509pop-cert-file',
    'PATH',
    "x509pop: the machine's certificate and its issuers, PEM, leaf first",
    pathOf,
    null,
  ),
  x509popKeyFile: setting<string | null>(
    'x509pop-key-file',
    'PATH',
    'x509pop: its private key, PEM',
    pathOf,
    null,
  ),
  serviceAccountTokenFile: setting(
    'service-account-token-file',
    'PATH',
    'k8s_psat: the projected service-account token',
    pathOf,
    PROJECTED_TOKEN,
  ),
  oidcTokenFile: setting<string | null>(
    'oidc-token-file',
    'PATH',
    'oidc: a JWT that the platform keeps fresh',
    pathOf,
    null,
  ),
  trustBundle: setting<string | null>(
    'trust-bundle',
    'PATH',
    'roots of the trust domain, PEM, by which servers are known at first (default: those that the join token names)',
    pathOf,
    null,
  ),
  agentSocket: setting<string | null>(
    'agent-socket',
    'PATH',
    "SDS and Workload API for this node's workloads (default: <data-dir>/agent.sock)",
    pathOf,
    null,
  ),
  dataDir: setting(
    'data-dir',
    'DIR',
    'the socket, and the cache where there is one',
    pathOf,
    resolve('carnet-agent-data'),
    './carnet-agent-data',
  ),
  cache: setting(
    'cache',
    null,
    'keep a sealed copy of what is held in the data directory, to start with while the servers are away',
    booleanOf,
    false,
  ),
  cacheKeyFile: setting<string | null>(
    'cache-key-file',
    'PATH',
    'seals the cache, in a file of mode 0600; or CARNET_CACHE_KEY in the environment',
    pathOf,
    null,
  ),
  httpAddr: setting<Address | null>(
    'http-addr',
    'HOST:PORT',
    'health, readiness and metrics (default: off)',
    parseAddress,
    null,
  ),
  ...ATTESTATION_SETTINGS,
  logLevel: setting<LogLevel>(
    'log-level',
    'LEVEL',
    oneOfHelp('how much to log', LOG_LEVELS),
    logLevelOf,
    'info',
  ),
} as const satisfies Settings;

export type AgentConfig = SettingValues<typeof AGENT_SETTINGS>;

/** A method's settings, none of which makes sense with another method. */
const OF_METHOD = {
  join_token: ['joinToken', 'joinTokenFile'],
  x509pop: ['x509popCertFile', 'x509popKeyFile'],
  k8s_psat: [],
  oidc: ['oidcTokenFile'],
} as const satisfies Record<AttestMethod, readonly (keyof AgentConfig)[]>;

/**
 * Reads the settings of `carnet agent`, as {@link readSettings} does, and besides refuses those of which the method of
 * attestation or the cache lacks a part.
 */
export function readAgentConfig(flags: ReadonlyMap<string, string>, env: NodeJS.ProcessEnv): AgentConfig {
  const config = readSettings(AGENT_SETTINGS, flags, env);
  if (config.serverAddr.length === 0) throw invalid('--server-addr is missing: give HOST:PORT of a server');
  const { attestMethod: method } = config;
  const given = OF_METHOD[method].filter((key) => config[key] !== null);
  const names = OF_METHOD[method].map((key) => `--${AGENT_SETTINGS[key].flag}`);
  if (method === 'join_token' && given.length !== 1)
    throw invalid(`--attest-method join_token needs one of ${names.join(' and ')}, or CARNET_JOIN_TOKEN`);
  if (method !== 'join_token' && given.length !== OF_METHOD[method].length)
    throw invalid(`--attest-method ${method} needs ${names.join(' and ')}`);
  if (method !== 'join_token' && config.trustBundle === null)
    throw invalid(`--attest-method ${method} needs --trust-bundle: nothing else says which servers to trust`);
  checkAttestation(config);
  return config;
}

/** The socket of an agent with these settings. */
export function socketOf({ agentSocket, dataDir }: AgentConfig): string {
  return agentSocket ?? join(dataDir, 'agent.sock');
}

function serversOf(value: string): Address[] {
  return value.split(',').map((address) => {
    const { host, port } = parseAddress(address.trim());
    if (port === 0 || host === '0.0.0.0') throw invalid(`${address.trim()} says no host or no port`);
    return { host, port };
  });
}

function invalid(message: string): CarnetError {
  return new CarnetError('config_invalid', message);
}
