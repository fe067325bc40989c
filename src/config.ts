import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { validate as validateCron } from 'node-cron';
import { parse as parseYaml } from 'yaml';
import { ISSUING_CA, type Lifetime, ROOT_CA, X509_SVID } from './ca/profile.ts';
import { KEY_ALGORITHMS, type KeyAlgorithm } from './ca/signer.ts';
import { formatDuration, parseDuration } from './duration.ts';
import { CarnetError } from './errors.ts';
import { parseTrustDomain } from './identity/spiffe-id.ts';
import { LOG_LEVELS, type LogLevel } from './log.ts';

/**
 * One setting of a long-running command. Its value comes from the flag `--some-flag`, else from
 * `CARNET_SOME_FLAG` in the environment, else from `some_flag` in the YAML file given with `--config`,
 * else it is the default.
 */
export interface Setting<T> {
  readonly flag: string;
  /** What stands for the value in the help text; null for a switch. */
  readonly placeholder: string | null;
  readonly help: string;
  readonly parse: (text: string) => T;
  readonly default: T;
  /** The default as the help text shows it; null where `help` says it. */
  readonly shown: string | null;
  /** A further name in the environment, for those that a platform sets. */
  readonly alsoEnv?: string;
}

export type Settings = Readonly<Record<string, Setting<unknown>>>;
export type SettingValues<S extends Settings> = {
  readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : never;
};

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** `auto`, `off`, or a cron expression. */
export type RotationSchedule = string;

const text = (value: string): string => value;

const KEY_STORES = ['sealed', 'pkcs11'] as const;
type KeyStoreName = (typeof KEY_STORES)[number];

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
  issuingKeyType: setting(
    'issuing-key-type',
    'TYPE',
    oneOfHelp('key of new issuing CAs', KEY_ALGORITHMS),
    keyTypeOf,
    'ec-p256',
  ),
  rootKeyType: setting(
    'root-key-type',
    'TYPE',
    oneOfHelp('key of new roots', KEY_ALGORITHMS),
    keyTypeOf,
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
  checkOrder('--issuing-ca-ttl', config.issuingCaTtl, '--root-ca-ttl', config.rootCaTtl);
  checkToken(config);
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

function checkOrder(shortName: string, short: number, longName: string, long: number): void {
  if (short > long)
    throw new CarnetError(
      'config_invalid',
      `${shortName} ${formatDuration(short)} is longer than ${longName} ${formatDuration(long)}: nothing outlives its issuer`,
    );
}

/** Adds the settings, and `--config`, to a command as options. */
export function addSettings(command: Command, settings: Settings): void {
  command.addOption(new Option('--config <FILE>', 'YAML file with these settings, as some_flag: value'));
  for (const { flag, placeholder, help, shown } of Object.values(settings)) {
    const value = placeholder === null ? '' : ` <${placeholder}>`;
    command.addOption(new Option(`--${flag}${value}`, shown === null ? help : `${help} (default: ${shown})`));
  }
}

/** The flags that were given to a command, by their names without dashes. */
export function flagsOf(command: Command): Map<string, string> {
  const flags = new Map<string, string>();
  for (const option of command.options) {
    const attribute = option.attributeName();
    if (command.getOptionValueSource(attribute) !== 'cli') continue;
    const value: unknown = command.getOptionValue(attribute);
    flags.set((option.long ?? '').replace(/^--/, ''), String(option.negate ? !value : value));
  }
  return flags;
}

/**
 * Reads the settings: `flags` (by flag, without dashes) over `env` over the file. Throws `config_invalid`,
 * naming the setting, where its value came from and what is wrong with it.
 */
export function readSettings<S extends Settings>(
  settings: S,
  flags: ReadonlyMap<string, string>,
  env: NodeJS.ProcessEnv,
): SettingValues<S> {
  const configFile = flags.get('config') ?? env.CARNET_CONFIG;
  const file = configFile === undefined ? new Map<string, string>() : readConfigFile(configFile, settings);
  const values: Record<string, unknown> = {};
  for (const [key, setting] of Object.entries(settings)) {
    const found = find(setting, flags, env, file);
    try {
      values[key] = found === undefined ? setting.default : setting.parse(found.text);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new CarnetError('config_invalid', `${found?.source ?? setting.flag}: ${why}`, { cause: error });
    }
  }
  return values as SettingValues<S>;
}

function find(
  { flag, alsoEnv }: Setting<unknown>,
  flags: ReadonlyMap<string, string>,
  env: NodeJS.ProcessEnv,
  file: ReadonlyMap<string, string>,
): { text: string; source: string } | undefined {
  const fromFlag = flags.get(flag);
  if (fromFlag !== undefined) return { text: fromFlag, source: `--${flag}` };
  const names = [
    `CARNET_${flag.replaceAll('-', '_').toUpperCase()}`,
    ...(alsoEnv === undefined ? [] : [alsoEnv]),
  ];
  for (const name of names) {
    const value = env[name];
    if (value !== undefined && value !== '') return { text: value, source: name };
  }
  const fromFile = file.get(flag.replaceAll('-', '_'));
  return fromFile === undefined
    ? undefined
    : { text: fromFile, source: `${flag.replaceAll('-', '_')} in the file` };
}

function readConfigFile(path: string, settings: Settings): Map<string, string> {
  const known = new Set(Object.values(settings).map(({ flag }) => flag.replaceAll('-', '_')));
  let document: unknown;
  try {
    document = parseYaml(readFileSync(path, 'utf8')) ?? {};
  } catch (error) {
    throw new CarnetError(
      'config_invalid',
      `--config ${path}: ${error instanceof Error ? error.message : error}`,
    );
  }
  if (typeof document !== 'object' || document === null || Array.isArray(document))
    throw new CarnetError(
      'config_invalid',
      `--config ${path}: the file must be a mapping of settings to values`,
    );
  const values = new Map<string, string>();
  for (const [key, value] of Object.entries(document)) {
    if (!known.has(key))
      throw new CarnetError('config_invalid', `--config ${path}: there is no setting ${JSON.stringify(key)}`);
    if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean')
      throw new CarnetError('config_invalid', `--config ${path}: ${key} must be a single value`);
    values.set(key, String(value));
  }
  return values;
}

function setting<T>(
  flag: string,
  placeholder: string | null,
  help: string,
  parse: (text: string) => T,
  value: T,
  shown: string | null = typeof value === 'string' ? value : null,
): Setting<T> {
  return { flag, placeholder, help, parse, default: value, shown };
}

function pathOf(value: string): string {
  if (value === '') throw new CarnetError('config_invalid', 'the path is empty');
  return resolve(value);
}

/** The value may hold a password: it is never repeated. */
function databaseUrlOf(value: string): string {
  if (!/^postgres(?:ql)?:\/\//.test(value))
    throw new CarnetError(
      'config_invalid',
      'it is no URL of a Postgres: write postgresql://USER:PASSWORD@HOST:PORT/DATABASE',
    );
  return value;
}

function lifetimeIn({ minSeconds, maxSeconds }: Lifetime): (value: string) => number {
  return (value) => {
    const seconds = parseDuration(value);
    if (seconds < minSeconds || seconds > maxSeconds)
      throw new CarnetError(
        'config_invalid',
        `${value} is not from ${formatDuration(minSeconds)} to ${formatDuration(maxSeconds)}`,
      );
    return seconds;
  };
}

/** Parses `host:port` or `[ipv6]:port`. */
export function parseAddress(value: string): Address {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(value);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535)
    throw new CarnetError(
      'config_invalid',
      `${JSON.stringify(value)} is not an address: write HOST:PORT, for example 127.0.0.1:8080`,
    );
  return { host: match[1] ?? (match[2] || '0.0.0.0'), port };
}

export function formatAddress({ host, port }: Address): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function booleanOf(value: string): boolean {
  if (['true', '1', 'yes', 'on'].includes(value)) return true;
  if (['false', '0', 'no', 'off'].includes(value)) return false;
  throw new CarnetError('config_invalid', `${JSON.stringify(value)} is neither true nor false`);
}

function rotationScheduleOf(value: string): RotationSchedule {
  if (value === 'auto' || value === 'off' || validateCron(value)) return value;
  throw new CarnetError(
    'config_invalid',
    `${JSON.stringify(value)} is neither auto, off, nor a cron expression such as "0 3 1 * *"`,
  );
}

function slotOf(value: string): number {
  const slot = Number(value);
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(slot))
    throw new CarnetError('config_invalid', `${JSON.stringify(value)} is not the number of a slot`);
  return slot;
}

function keyTypeOf(value: string): KeyAlgorithm {
  return oneOf(KEY_ALGORITHMS, value);
}

function logLevelOf(value: string): LogLevel {
  return oneOf(LOG_LEVELS, value);
}

function oneOf<T extends string>(choices: readonly T[], value: string): T {
  const found = choices.find((choice) => choice === value);
  if (found === undefined)
    throw new CarnetError('config_invalid', `${JSON.stringify(value)} is not one of ${choices.join(', ')}`);
  return found;
}

function oneOfHelp(what: string, choices: readonly string[]): string {
  return `${what}: ${choices.join(', ')}`;
}
