import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { parse as parseYaml } from 'yaml';
import { CarnetError } from './errors.ts';

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
  /** The flag may be given several times: its values then stand each on a line. */
  readonly repeatable?: boolean;
}

export type Settings = Readonly<Record<string, Setting<unknown>>>;
export type SettingValues<S extends Settings> = {
  readonly [K in keyof S]: S[K] extends Setting<infer T> ? T : never;
};

/** Adds the settings, and `--config`, to a command as options. */
export function addSettings(command: Command, settings: Settings): void {
  command.addOption(new Option('--config <FILE>', 'YAML file with these settings, as some_flag: value'));
  for (const { flag, placeholder, help, shown, repeatable } of Object.values(settings)) {
    const value = placeholder === null ? '' : ` <${placeholder}>`;
    const option = new Option(`--${flag}${value}`, shown === null ? help : `${help} (default: ${shown})`);
    if (repeatable === true) option.argParser(addLine);
    command.addOption(option);
  }
}

function addLine(value: string, before: string | undefined): string {
  return before === undefined ? value : `${before}\n${value}`;
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

/** Describes a setting; a default that is a string is shown as it is. */
export function setting<T>(
  flag: string,
  placeholder: string | null,
  help: string,
  parse: (text: string) => T,
  value: T,
  shown: string | null = typeof value === 'string' ? value : null,
): Setting<T> {
  return { flag, placeholder, help, parse, default: value, shown };
}
