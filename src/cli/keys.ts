import { join, resolve } from 'node:path';
import { Command } from 'commander';
import {
  type KeyEncryptionKey,
  loadKeyEncryptionKey,
  parseKeyEncryptionKey,
  readKeyEncryptionKey,
} from '../ca/key-encryption-key.ts';
import { type Rewrapped, rewrapKeys } from '../ca/rewrap.ts';
import { SERVER_SETTINGS } from '../config.ts';
import { PostgresAuthorityStore } from '../db/authorities.ts';
import { CarnetError } from '../errors.ts';
import { addSettings, flagsOf, readSettings, type SettingValues } from '../settings.ts';
import { note, PROCESS_TERMINAL, type Terminal, writeJson, writeLine } from './output.ts';
import { withDatabase } from './with-database.ts';

const { dataDir, databaseUrl, keyEncryptionKeyFile } = SERVER_SETTINGS;
const SETTINGS = { dataDir, databaseUrl, keyEncryptionKeyFile };

const HELP = `
All CA keys that are sealed in the database are sealed anew, in one transaction: it is done for all of them or
for none, and running it again does no harm. The keys themselves, and every certificate, stay as they are; keys
in a hardware module are not concerned. The present key is found as the server finds it; the new one is made if
its file does not exist, or is taken from CARNET_NEW_KEY_ENCRYPTION_KEY.

With an embedded database, stop the server first. With your own Postgres, servers may run: they go on issuing
with the keys that they have in memory, and need the new key before their next rotation, so start them again
with it, one after the other. Keep the old key as long as you keep backups that were made before.

Example:
  $ carnet keys rewrap --new-key-encryption-key-file /etc/carnet/key-encryption-key.2
  $ carnet server --key-encryption-key-file /etc/carnet/key-encryption-key.2`;

/** `carnet keys`. */
export function keysCommand(terminal: Terminal = PROCESS_TERMINAL): Command {
  const rewrap = new Command('rewrap')
    .description('seal the CA keys under another key-encryption key')
    .option('--new-key-encryption-key-file <PATH>', 'the key that is to seal them')
    .option('--json', 'one JSON document')
    .addHelpText('after', HELP);
  addSettings(rewrap, SETTINGS);
  rewrap.action(async (flags: { newKeyEncryptionKeyFile?: string; json?: boolean }) => {
    const config = readSettings(SETTINGS, flagsOf(rewrap), terminal.env);
    const from = await presentKey(config, terminal);
    const newFile = flags.newKeyEncryptionKeyFile;
    const to = await newKey(newFile, terminal);
    if (from.id === to.id)
      throw new CarnetError('invalid_argument', `the new key-encryption key is the present one, ${to.id}`);
    const done = await withDatabase(config, (database) =>
      rewrapKeys(new PostgresAuthorityStore(database), from, to, `local:uid-${process.getuid?.() ?? 'none'}`),
    );
    report(terminal, done, to, newFile, flags.json === true);
  });
  return new Command('keys').description('the keys of the authorities').addCommand(rewrap);
}

function presentKey(config: SettingValues<typeof SETTINGS>, { env }: Terminal): Promise<KeyEncryptionKey> {
  const { CARNET_KEY_ENCRYPTION_KEY: text } = env;
  if (text !== undefined) return Promise.resolve(parseKeyEncryptionKey(text));
  // Never made here: a new key opens nothing.
  return readKeyEncryptionKey(config.keyEncryptionKeyFile ?? join(config.dataDir, 'key-encryption-key'));
}

function newKey(file: string | undefined, { env }: Terminal): Promise<KeyEncryptionKey> {
  const { CARNET_NEW_KEY_ENCRYPTION_KEY: text } = env;
  if (file !== undefined) return loadKeyEncryptionKey(resolve(file));
  if (text !== undefined) return Promise.resolve(parseKeyEncryptionKey(text));
  throw new CarnetError('config_invalid', 'give --new-key-encryption-key-file');
}

function report(
  terminal: Terminal,
  { rewrapped, before }: Rewrapped,
  { id }: KeyEncryptionKey,
  file: string | undefined,
  json: boolean,
): void {
  if (json) writeJson(terminal, { key_encryption_key: id, rewrapped, before });
  else
    writeLine(
      terminal,
      `${rewrapped.length} sealed under ${id}${before.length === 0 ? '' : `, ${before.length} were before`}`,
    );
  const option = file === undefined ? 'it in CARNET_KEY_ENCRYPTION_KEY' : `--key-encryption-key-file ${file}`;
  note(terminal, `From now on servers must be started with ${option}.`);
}
