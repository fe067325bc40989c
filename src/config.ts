import { resolve } from 'node:path';
import { ATTESTATION_SETTINGS, checkAttestation } from './attestation-settings.ts';
import { JWT_KEY_ALGORITHMS, JWT_KEY_LIFETIME } from './ca/jwt-key.ts';
import { AGENT, ISSUING_CA, JWT_SVID, ROOT_CA, X509_SVID } from './ca/profile.ts';
import { KEY_ALGORITHMS } from './ca/signer.ts';
import { formatDuration, parseDuration } from './duration.ts';
import { CarnetError } from './errors.ts';
import { checkForward, FORWARD_SETTINGS } from './forward-settings.ts';
import { parseTrustDomain } from './identity/spiffe-id.ts';
import { checkIdentityRoles, type IdentityRole, identityRolesOf } from './identity-role.ts';
import { LOG_LEVELS, type LogLevel } from './log.ts';
import { checkOidc, OIDC_SETTINGS } from './oidc-settings.ts';
import {
  type Address,
  addressOrOffOf,
  booleanOf,
  clusterOf,
  databaseUrlOf,
  dnsNamesOf,
  issuerOf,
  labelSelectorOf,
  lifetimeIn,
  logLevelOf,
  oneOf,
  oneOfHelp,
  parseAddress,
  pathOf,
  publicUrlOf,
  type RotationSchedule,
  rotationScheduleOf,
  serviceAccountsOf,
  signerNameOf,
  slotOf,
  webUrlOf,
} from './setting-values.ts';
import { readSettings, type Settings, type SettingValues, setting } from './settings.ts';
import { checkWitnessSettings, WITNESS_SETTINGS } from './witness-settings.ts';

const text = (value: string): string => value;

const KEY_STORES = ['sealed', 'pkcs11'] as const;
type KeyStoreName = (typeof KEY_STORES)[number];

const FEDERATION_PROFILES = ['https_spiffe', 'https_web', 'http'] as const;
type FederationProfile = (typeof FEDERATION_PROFILES)[number];

/** Settings of `carnet server`. Public: add to them, do not rename. */
export const SERVER_SETTINGS = {
  dataDir: setting(
    'data-dir',
    'DIR',
    'embedded database, sockets and sealed keys',
    pathOf,
    resolve('carnet-data'),
    './carnet-data',
  ),
  databaseUrl: {
    ...setting<string | null>(
      'database-url',
      'URL',
      'your Postgres instead of the embedded one',
      databaseUrlOf,
      null,
    ),
    alsoEnv: 'DATABASE_URL',
  },
  databaseOwnerUrl: setting<string | null>(
    'database-owner-url',
    'URL',
    'a second role, for migrations only; the first then needs no right to change history',
    databaseUrlOf,
    null,
  ),
  trustDomain: setting(
    'trust-domain',
    'NAME',
    'trust domain',
    parseTrustDomain,
    parseTrustDomain('carnet.local'),
  ),
  httpAddr: setting<Address>(
    'http-addr',
    'HOST:PORT',
    'REST, metrics, health',
    parseAddress,
    { host: '127.0.0.1', port: 8080 },
    '127.0.0.1:8080',
  ),
  httpsAddr: setting<Address | null>(
    'https-addr',
    'HOST:PORT',
    'the same as on --http-addr over TLS, with a certificate of our own; identities with a role sign in by theirs',
    addressOrOffOf,
    null,
    'off',
  ),
  httpsDnsName: setting<readonly string[]>(
    'https-dns-name',
    'NAME[,NAME…]',
    'DNS names in that certificate',
    dnsNamesOf,
    [],
    'none',
  ),
  identityRole: setting<readonly IdentityRole[]>(
    'identity-role',
    'ROLE=SPIFFE-ID[,…]',
    'who has this identity has this role on --https-addr',
    identityRolesOf,
    [],
    'none',
  ),
  grpcAddr: setting<Address | null>(
    'grpc-addr',
    'HOST:PORT',
    "gRPC with TLS, for other nodes' agents; off for none",
    addressOrOffOf,
    { host: '127.0.0.1', port: 8443 },
    '127.0.0.1:8443',
  ),
  grpcDnsName: setting<readonly string[]>(
    'grpc-dns-name',
    'NAME[,NAME…]',
    "DNS names in the server's certificate, for clients that verify names; agents don't",
    dnsNamesOf,
    [],
    'none',
  ),
  agentTtl: setting<number | null>(
    'agent-ttl',
    'DURATION',
    "how long another node's agent may be away without being attested anew: the life of its own certificate",
    lifetimeIn(AGENT.lifetime),
    null,
    "1d, or the issuing CA's life if that is shorter",
  ),
  agentSocket: setting<string | null>(
    'agent-socket',
    'PATH',
    "SDS for this node's proxies (default: <data-dir>/agent.sock)",
    pathOf,
    null,
  ),
  noAgent: setting(
    'no-agent',
    null,
    'run the server alone, without an agent for this node',
    booleanOf,
    false,
  ),
  nodeName: setting<string | null>(
    'node-name',
    'NAME',
    "this node's name on record (default: its host name)",
    text,
    null,
  ),
  leafTtl: setting(
    'leaf-ttl',
    'DURATION',
    "a leaf's lifetime, where its entry has none",
    lifetimeIn(X509_SVID.lifetime),
    3600,
    '1h',
  ),
  issuingCaTtl: setting(
    'issuing-ca-ttl',
    'DURATION',
    "an issuing CA's lifetime",
    lifetimeIn(ISSUING_CA.lifetime),
    7 * 86_400,
    '7d',
  ),
  rootCaTtl: setting(
    'root-ca-ttl',
    'DURATION',
    "a root's lifetime",
    lifetimeIn(ROOT_CA.lifetime),
    365 * 86_400,
    '1y, 365 days',
  ),
  rootRotation: setting<RotationSchedule>(
    'root-rotation',
    'WHEN',
    'when a new root replaces the last: auto (with a third of its life left), off, or a cron expression',
    rotationScheduleOf,
    'auto',
  ),
  issuingCaRotation: setting<RotationSchedule>(
    'issuing-ca-rotation',
    'WHEN',
    'when a new issuing CA replaces the last: auto (at half of its life), off, or a cron expression',
    rotationScheduleOf,
    'auto',
  ),
  rotationHold: setting(
    'rotation-hold',
    'DURATION',
    'how long a rotation waits for consumers that cannot acknowledge a bundle',
    parseDuration,
    60,
    '60s',
  ),
  jwtTtl: setting('jwt-ttl', 'DURATION', "a JWT-SVID's lifetime", lifetimeIn(JWT_SVID.lifetime), 300, '5m'),
  jwtIssuer: setting<string | null>(
    'jwt-issuer',
    'URL',
    'the issuer in JWT-SVIDs, under which OpenID Connect discovery is served to clouds (default: none)',
    issuerOf,
    null,
  ),
  jwtKeyTtl: setting(
    'jwt-key-ttl',
    'DURATION',
    'lifetime of a key that signs JWT-SVIDs',
    lifetimeIn(JWT_KEY_LIFETIME),
    7 * 86_400,
    '7d',
  ),
  jwtKeyRotation: setting<RotationSchedule>(
    'jwt-key-rotation',
    'WHEN',
    'when a new key for JWT-SVIDs replaces the last: auto (at half of its life), off, or a cron expression',
    rotationScheduleOf,
    'auto',
  ),
  jwtKeyHold: setting(
    'jwt-key-hold',
    'DURATION',
    'how long a new key for JWT-SVIDs is published before it signs',
    parseDuration,
    600,
    '10m',
  ),
  jwtKeyType: setting(
    'jwt-key-type',
    'TYPE',
    oneOfHelp('new keys for JWT-SVIDs', JWT_KEY_ALGORITHMS),
    (value) => oneOf(JWT_KEY_ALGORITHMS, value),
    'ec-p256',
  ),
  issuingKeyType: setting(
    'issuing-key-type',
    'TYPE',
    oneOfHelp('key of new issuing CAs', KEY_ALGORITHMS),
    (value) => oneOf(KEY_ALGORITHMS, value),
    'ec-p256',
  ),
  rootKeyType: setting(
    'root-key-type',
    'TYPE',
    oneOfHelp('key of new roots', KEY_ALGORITHMS),
    (value) => oneOf(KEY_ALGORITHMS, value),
    'ec-p256',
  ),
  notBeforeBackdate: setting(
    'not-before-backdate',
    'DURATION',
    'how far a certificate begins in the past, for clocks that are slow',
    parseDuration,
    30,
    '30s',
  ),
  publicUrl: setting<string | null>(
    'public-url',
    'URL',
    'where verifiers reach --http-addr, http://HOST: certificates then say where CRLs and their issuers are',
    publicUrlOf,
    null,
  ),
  recordEvidenceReads: setting(
    'record-evidence-reads',
    null,
    'put on record who reads evidence: each read is an operator event before it is answered',
    booleanOf,
    false,
  ),
  webUrl: setting<string | null>(
    'web-url',
    'URL',
    "where browsers reach --http-addr, https://HOST: without it they sign in from this machine's own addresses only",
    webUrlOf,
    null,
  ),
  ...OIDC_SETTINGS,
  keyEncryptionKeyFile: setting<string | null>(
    'key-encryption-key-file',
    'PATH',
    'seals CA keys; or CARNET_KEY_ENCRYPTION_KEY in the environment (default: <data-dir>/key-encryption-key, made at first start)',
    pathOf,
    null,
  ),
  keyStore: setting<KeyStoreName>(
    'key-store',
    'WHERE',
    oneOfHelp('where new CA keys are made', KEY_STORES),
    (value) => oneOf(KEY_STORES, value),
    'sealed',
  ),
  pkcs11Module: setting<string | null>(
    'pkcs11-module',
    'PATH',
    "the library of a hardware module that has, or is to have, CA keys: the vendor's PKCS#11 module",
    pathOf,
    null,
  ),
  pkcs11Token: setting<string | null>(
    'pkcs11-token',
    'LABEL',
    'the token with the keys, by its label',
    text,
    null,
  ),
  pkcs11Slot: setting<number | null>('pkcs11-slot', 'N', '…or by its slot', slotOf, null),
  pkcs11PinFile: setting<string | null>(
    'pkcs11-pin-file',
    'PATH',
    "the token's user PIN, in a file of mode 0600",
    pathOf,
    null,
  ),
  kubernetes: setting<string | null>(
    'kubernetes',
    'WHERE',
    'look after a Kubernetes cluster: in-cluster, or the path of a kubeconfig',
    clusterOf,
    null,
  ),
  kubernetesRules: setting<string | null>(
    'kubernetes-rules',
    'PATH',
    'which pods get which identity (default: one for each service account)',
    pathOf,
    null,
  ),
  kubernetesSigner: setting(
    'kubernetes-signer',
    'NAME',
    "the signer's name in requests and trust bundles",
    signerNameOf,
    'carnet.local/workload',
  ),
  kubernetesBundleNamespaces: setting<string | null>(
    'kubernetes-bundle-namespaces',
    'SELECTOR',
    'namespaces that get the trust bundle in a ConfigMap, by their labels',
    labelSelectorOf,
    null,
  ),
  istio: setting(
    'istio',
    null,
    "be the CA of Istio's agents and ztunnel in that cluster, on --grpc-addr",
    booleanOf,
    false,
  ),
  istioAudience: setting(
    'istio-audience',
    'NAME',
    "for whom the service account tokens of Istio's agents must be",
    text,
    'istio-ca',
  ),
  istioNodeAgents: setting<readonly string[]>(
    'istio-node-agents',
    'ACCOUNTS',
    'service accounts, as NAMESPACE/NAME with commas between, that ask for all that runs on their node (ztunnel)',
    serviceAccountsOf,
    [],
  ),
  sdsOnGrpc: setting(
    'sds-on-grpc',
    null,
    'serve SDS to proxies without an agent on --grpc-addr; their keys are then made here, and sent to them',
    booleanOf,
    false,
  ),
  sdsAudience: setting(
    'sds-audience',
    'NAME',
    'with --sds-on-grpc and --kubernetes: for whom the service account tokens that proxies show must be',
    text,
    'carnet',
  ),
  federationAddr: setting<Address | null>(
    'federation-addr',
    'HOST:PORT',
    'where other trust domains fetch our bundle; off for nowhere',
    addressOrOffOf,
    null,
    'off',
  ),
  federationProfile: setting<FederationProfile>(
    'federation-profile',
    'PROFILE',
    oneOfHelp(
      'how --federation-addr proves who it is; http: a TLS proxy before it does',
      FEDERATION_PROFILES,
    ),
    (value) => oneOf(FEDERATION_PROFILES, value),
    'https_spiffe',
  ),
  federationCertFile: setting<string | null>(
    'federation-cert-file',
    'PATH',
    'with https_web: its certificate and the CAs above, in PEM; read again when it changes',
    pathOf,
    null,
  ),
  federationKeyFile: setting<string | null>(
    'federation-key-file',
    'PATH',
    'with https_web: its private key, in PEM',
    pathOf,
    null,
  ),
  federationRefreshHint: setting(
    'federation-refresh-hint',
    'DURATION',
    'how often others are to fetch our bundle; a new root waits for three times that',
    lifetimeIn({ minSeconds: 1, maxSeconds: 86_400 }),
    300,
    '5m',
  ),
  nodeAttestation: setting<string | null>(
    'node-attestation',
    'PATH',
    'which nodes are let in without a join token: a YAML file (docs/ATTESTATION.md)',
    pathOf,
    null,
  ),
  ...ATTESTATION_SETTINGS,
  ...WITNESS_SETTINGS,
  ...FORWARD_SETTINGS,
  logLevel: setting<LogLevel>(
    'log-level',
    'LEVEL',
    oneOfHelp('how much to log', LOG_LEVELS),
    logLevelOf,
    'info',
  ),
} as const satisfies Settings;

export type ServerConfig = SettingValues<typeof SERVER_SETTINGS>;

/**
 * Reads the settings of `carnet server`, as {@link readSettings} does, and besides refuses lifetimes that don't
 * fit into each other: what outlives its issuer would be cut short without a word.
 */
export function readServerConfig(flags: ReadonlyMap<string, string>, env: NodeJS.ProcessEnv): ServerConfig {
  const config = readSettings(SERVER_SETTINGS, flags, env);
  checkOrder('--leaf-ttl', config.leafTtl, '--issuing-ca-ttl', config.issuingCaTtl);
  checkOrder('--agent-ttl', config.agentTtl ?? 0, '--issuing-ca-ttl', config.issuingCaTtl);
  checkOrder('--issuing-ca-ttl', config.issuingCaTtl, '--root-ca-ttl', config.rootCaTtl);
  checkOrder('--jwt-ttl', config.jwtTtl, '--jwt-key-ttl', config.jwtKeyTtl);
  checkToken(config);
  checkFederation(config);
  checkAttestation(config);
  checkForward(config);
  checkIstio(config);
  checkOidc(config);
  checkIdentityRoles(config);
  checkWitnessSettings(config);
  if (config.sdsOnGrpc && config.grpcAddr === null)
    throw new CarnetError('config_invalid', '--sds-on-grpc needs --grpc-addr');
  return config;
}

/** A token is given whole or not at all: the module, which of its tokens, and the PIN. */
function checkToken(config: ServerConfig): void {
  const { pkcs11Module, pkcs11Token, pkcs11Slot, pkcs11PinFile } = config;
  const isGiven = pkcs11Module !== null;
  const isWhole = pkcs11PinFile !== null && (pkcs11Token === null) !== (pkcs11Slot === null);
  const isAbsent = pkcs11PinFile === null && pkcs11Token === null && pkcs11Slot === null;
  if (isGiven ? !isWhole : !isAbsent)
    throw new CarnetError(
      'config_invalid',
      '--pkcs11-module needs --pkcs11-pin-file and one of --pkcs11-token and --pkcs11-slot; these need it',
    );
  if (config.keyStore === 'pkcs11' && !isGiven)
    throw new CarnetError('config_invalid', '--key-store pkcs11 needs --pkcs11-module');
}

function checkFederation(config: ServerConfig): void {
  const { federationProfile: profile, federationCertFile: certFile, federationKeyFile: keyFile } = config;
  const needed = profile === 'https_web';
  if ((certFile !== null) !== needed || (keyFile !== null) !== needed)
    throw new CarnetError(
      'config_invalid',
      '--federation-profile https_web needs --federation-cert-file and --federation-key-file; these need it',
    );
}

function checkIstio({ istio, kubernetes, grpcAddr }: ServerConfig): void {
  if (istio && (kubernetes === null || grpcAddr === null))
    throw new CarnetError('config_invalid', '--istio needs --kubernetes, and --grpc-addr');
}

function checkOrder(shortName: string, short: number, longName: string, long: number): void {
  if (short > long)
    throw new CarnetError(
      'config_invalid',
      `${shortName} ${formatDuration(short)} is longer than ${longName} ${formatDuration(long)}: nothing outlives its issuer`,
    );
}
