import { readFile } from 'node:fs/promises';
import { Command } from 'commander';
import { checkEvidence, EvidenceBundle } from '../audit/evidence.ts';
import { formatVerifierKey, type NoteKey, parseVerifierKey } from '../audit/log/note.ts';
import { verifierOf } from '../audit/log-key.ts';
import { verifyLog } from '../audit/verify-log.ts';
import { SERVER_SETTINGS } from '../config.ts';
import { PostgresLog } from '../db/log.ts';
import { PostgresLogSource } from '../db/log-source.ts';
import { CarnetError } from '../errors.ts';
import { addSettings, flagsOf, readSettings } from '../settings.ts';
import { collect } from './operator.ts';
import { note, type Terminal, writeJson, writeLine } from './output.ts';
import { Progress } from './progress.ts';
import { verifyExport } from './verify-export.ts';
import { withDatabase } from './with-database.ts';

const { dataDir, databaseUrl } = SERVER_SETTINGS;
const SETTINGS = { dataDir, databaseUrl };
/** Some chunks are read at once, each on its own connection; and one looks for rows that the log passed over. */
const READING = { maxConnections: 5, statementTimeoutMs: 3_600_000 };

interface VerifyFlags {
  readonly bundle?: string;
  readonly export?: string;
  readonly verifierKey?: string;
  readonly checkpoint: readonly string[];
  readonly json?: boolean;
}

const HELP = `
Reads the database itself, beside a running server or without one: every row is hashed again, and the tree, its tiles
and all checkpoints are compared with the outcome. Give the key and the latest checkpoint that you kept elsewhere: they
show a log that was made anew, or set back.

Examples:
  $ curl -s http://127.0.0.1:8080/log/vkey > log.vkey; curl -s http://127.0.0.1:8080/log/checkpoint > march.checkpoint
  $ carnet audit verify --verifier-key "$(cat log.vkey)" --checkpoint march.checkpoint
  $ carnet audit verify --bundle web.json --verifier-key "$(cat log.vkey)"`;

/** `carnet audit verify`: exits 1, and names what does not fit, where the log does not hold. */
export function verifyCommand(terminal: Terminal): Command {
  const verify = new Command('verify')
    .description('check that the log is whole: every record, checkpoint and tile; or one bundle of evidence')
    .option('--bundle <FILE>', 'check what carnet audit prove wrote, and nothing else: no database is needed')
    .option(
      '--export <FILE>',
      'check what carnet audit export wrote, and nothing else: no database is needed',
    )
    .option(
      '--verifier-key <KEY>',
      'the key of the log, as you kept it; otherwise the one that is found is believed',
    )
    .option('--checkpoint <FILE>', 'a checkpoint that you kept; may be given several times', collect, [])
    .option('--json', 'one JSON document')
    .addHelpText('after', HELP);
  addSettings(verify, SETTINGS);
  return verify.action(async (flags: VerifyFlags) => {
    if (flags.export !== undefined) await verifyExport(flags.export, flags, terminal);
    else if (flags.bundle === undefined) await verifyDatabase(verify, flags, terminal);
    else await verifyBundle(flags.bundle, flags, terminal);
  });
}

async function verifyBundle(
  file: string,
  { verifierKey, json }: VerifyFlags,
  terminal: Terminal,
): Promise<void> {
  const bundle = parseBundle(file, await readGiven(file));
  const { size } = checkEvidence(bundle, verifierKey?.trim() ?? null);
  const { serial, identity } = bundle.issuance;
  const { index } = bundle.log;
  if (json === true) writeJson(terminal, { ok: true, serial, identity, index, size });
  else
    writeLine(
      terminal,
      `${serial} (${identity}) is entry ${index} of the log's first ${size}, as the bundle says`,
    );
  if (verifierKey === undefined) noteKey(terminal, bundle.log.verifier_key);
}

async function verifyDatabase(command: Command, flags: VerifyFlags, terminal: Terminal): Promise<void> {
  const settings = readSettings(SETTINGS, flagsOf(command), terminal.env);
  const kept = await Promise.all(flags.checkpoint.map(readGiven));
  const progress = new Progress(terminal, 'entries');
  const begun = performance.now();
  const { key, verified } = await withDatabase(
    settings,
    async (database) => {
      const key = await keyToUse(flags, new PostgresLog(database));
      const onProgress = (done: number, size: number): void => progress.show(done, size);
      const source = new PostgresLogSource(database);
      return { key, verified: await verifyLog({ source, key, kept, since: null, onProgress }) };
    },
    READING,
  ).finally(() => progress.end());
  const { head, checkpoints, fault } = verified;
  const seconds = (performance.now() - begun) / 1000;
  if (flags.json === true)
    writeJson(terminal, { ok: fault === null, size: head?.size ?? 0, checkpoints, fault });
  if (fault !== null) throw new CarnetError('conflict', `the log does not hold: ${fault}`);
  if (flags.json !== true)
    writeLine(
      terminal,
      `${head?.size ?? 0} entries and ${checkpoints} checkpoints hold (${seconds.toFixed(1)} s)`,
    );
  if (flags.verifierKey === undefined) noteKey(terminal, formatVerifierKey(key));
}

/** A database that was made anew has another key: only one that was kept elsewhere shows it. */
async function keyToUse({ verifierKey }: VerifyFlags, log: PostgresLog): Promise<NoteKey> {
  const stored = await log.key();
  if (stored === null)
    throw new CarnetError('not_found', 'the log has not begun: no server ran on this database yet');
  return verifierKey === undefined ? verifierOf(stored) : parseVerifierKey(verifierKey.trim());
}

function noteKey(terminal: Terminal, key: string): void {
  note(
    terminal,
    `verified by the key that was found, ${key}: compare it with the one you kept, or give --verifier-key`,
  );
}

function parseBundle(file: string, text: string): EvidenceBundle {
  try {
    return EvidenceBundle.parse(JSON.parse(text));
  } catch (error) {
    throw new CarnetError('invalid_argument', `${file} is not a bundle of evidence`, { cause: error });
  }
}

async function readGiven(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw new CarnetError('not_found', `${file} cannot be read`, { cause: error });
  }
}
