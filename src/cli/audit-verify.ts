import { Command } from 'commander';
import { SERVER_SETTINGS } from '../config.ts';
import { addSettings, flagsOf, readSettings } from '../settings.ts';
import { collect } from './operator.ts';
import type { Terminal } from './output.ts';
import { type VerifyBundleFlags, verifyBundle } from './verify-bundle.ts';
import { type VerifyDatabaseFlags, verifyDatabase } from './verify-database.ts';
import { verifyExport } from './verify-export.ts';
import { addWitnessFlags } from './witness-policy.ts';

const { dataDir, databaseUrl } = SERVER_SETTINGS;
const SETTINGS = { dataDir, databaseUrl };

interface VerifyFlags extends VerifyDatabaseFlags, VerifyBundleFlags {
  readonly bundle?: string;
  readonly export?: string;
  readonly log?: string;
}

const HELP = `
Reads the database itself, beside a running server or without one: every row is hashed again, and the tree, its tiles
and all checkpoints are compared with the outcome. Give the key and the latest checkpoint that you kept elsewhere: they
show a log that was made anew, or set back.

With --state only what came since the last run is read; that the log still begins with all that was verified then is
shown by its tree. A row that was changed below shows in the next run with --full: do one now and then.

Examples:
  $ curl -s http://127.0.0.1:8080/log/vkey > log.vkey; curl -s http://127.0.0.1:8080/log/checkpoint > march.checkpoint
  $ carnet audit verify --verifier-key "$(cat log.vkey)" --checkpoint march.checkpoint
  $ carnet audit verify --state carnet.verified
  $ carnet audit verify --bundle web.json --verifier-key "$(cat log.vkey)" --witness "$(cat witness.vkey)"`;

/** `carnet audit verify`: exits 1, and names what does not fit, where the log does not hold. */
export function verifyCommand(terminal: Terminal): Command {
  const verify = new Command('verify')
    .description('check that the log is whole: every record, checkpoint and tile; or one bundle of evidence')
    .option('--bundle <FILE>', 'check what carnet audit prove wrote, and nothing else: no database is needed')
    .option(
      '--export <FILE>',
      'check what carnet audit export wrote, and nothing else: no database is needed',
    )
    .option('--log <URL>', "with --export, where the log's tiles are, such as http://127.0.0.1:8080/log")
    .option(
      '--verifier-key <KEY>',
      'the key of the log, as you kept it; otherwise the one that is found is believed',
    )
    .option('--checkpoint <FILE>', 'a checkpoint that you kept; may be given several times', collect, [])
    .option(
      '--state <FILE>',
      'where you keep what was verified: read only what came since, and write it anew',
    )
    .option('--full', 'with --state, read all again')
    .option('--json', 'one JSON document')
    .addHelpText('after', HELP);
  addWitnessFlags(verify);
  addSettings(verify, SETTINGS);
  return verify.action(async (flags: VerifyFlags) => {
    if (flags.export !== undefined) await verifyExport(flags.export, flags, terminal);
    else if (flags.bundle !== undefined) await verifyBundle(flags.bundle, flags, terminal);
    else await verifyDatabase(readSettings(SETTINGS, flagsOf(verify), terminal.env), flags, terminal);
  });
}
