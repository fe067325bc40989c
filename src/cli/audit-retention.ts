import { Command, Option } from 'commander';
import type { Partition, RetireHow } from '../audit/retire.ts';
import { retirePartition } from '../audit/retire.ts';
import { SERVER_SETTINGS } from '../config.ts';
import type { Database } from '../db/database.ts';
import { PostgresRetention } from '../db/retention.ts';
import { addSettings, flagsOf, readSettings } from '../settings.ts';
import { confirm } from './confirm.ts';
import { exportPartition } from './export-partition.ts';
import { note, type Terminal, writeJson, writeLine } from './output.ts';
import { parseWhen } from './times.ts';
import { withDatabase } from './with-database.ts';

const { dataDir, databaseUrl, databaseOwnerUrl } = SERVER_SETTINGS;
const SETTINGS = { dataDir, databaseUrl, databaseOwnerUrl };
/** A month of millions of rows is counted, exported and compared. */
const WORKING = { maxConnections: 4, statementTimeoutMs: 3_600_000 };
const MONTHS = /^(\d{1,4})mo$/;
const KINDS = {
  issuances: ['issuance'],
  'operator-events': ['operator_event'],
  all: ['issuance', 'operator_event'],
};

interface RetentionFlags {
  readonly olderThan?: string;
  readonly before?: string;
  readonly export?: string;
  readonly kind: keyof typeof KINDS;
  readonly dryRun?: boolean;
  readonly detach?: boolean;
  readonly drop?: boolean;
  readonly reason: string;
  readonly yes?: boolean;
  readonly json?: boolean;
}

const HELP = `
Works on the database itself, as the owner of its tables (--database-owner-url; beside a running server, which sequences
what is recorded). Each month is exported to DIR, the export is recorded and in the log, and only then does the month go.
Leaf hashes, tiles and checkpoints stay: old proofs and carnet audit verify go on to hold. What is interrupted is gone on
with by the same command. Months with a legal hold, or with a certificate that is still valid, stay.

Examples:
  $ carnet audit retention --older-than 13mo --dry-run
  $ carnet audit retention --older-than 13mo --export /srv/archive --drop --reason 'policy 7'`;

/** `carnet audit retention`. */
export function retentionCommand(terminal: Terminal): Command {
  const retention = new Command('retention')
    .description('take old months out of the database, after an export that is on record')
    .addOption(
      new Option('--older-than <AGE>', 'months that ended so long ago: 13mo, 400d').conflicts('before'),
    )
    .option('--before <TIME>', 'months that ended before a date or time')
    .option('--export <DIR>', 'where the exports are written, or are already')
    .addOption(new Option('--kind <KIND>', 'of what').choices(Object.keys(KINDS)).default('issuances'))
    .option('--dry-run', 'say what would be done, and do nothing')
    .addOption(
      new Option('--detach', 'leave each as a table of its own, outside of history').conflicts('drop'),
    )
    .option('--drop', 'for good')
    .option('--reason <TEXT>', 'why: stands in the audit log', '')
    .option('--yes', 'do not ask')
    .option('--json', 'one JSON document for each month')
    .addHelpText('after', HELP);
  addSettings(retention, SETTINGS);
  return retention.action((flags: RetentionFlags) => retain(retention, flags, terminal));
}

async function retain(command: Command, flags: RetentionFlags, terminal: Terminal): Promise<void> {
  const before = beforeOf(flags, terminal.clock(), command);
  const how = howOf(flags, command);
  const { databaseOwnerUrl: owner, ...settings } = readSettings(SETTINGS, flagsOf(command), terminal.env);
  const work = async (database: Database): Promise<void> => {
    const store = new PostgresRetention(database);
    const old = (await store.partitions()).filter(
      ({ kind, to }) => to <= before && KINDS[flags.kind].includes(kind),
    );
    const due: Partition[] = [];
    for (const partition of old) {
      const why = await store.obstacle(partition.name);
      if (why === null) due.push(partition);
      else report(terminal, flags, partition, { state: 'kept', why });
    }
    if (due.length === 0) return note(terminal, `nothing that ended before ${before.toISOString()} is to go`);
    if (how === null) {
      for (const partition of due)
        report(terminal, flags, partition, { state: 'due', rows: await store.countRows(partition.name) });
      return;
    }
    const names = due.map(({ name }) => name).join(', ');
    await confirm(
      terminal,
      flags.yes,
      `${names}: ${how === 'drop' ? 'dropped' : 'detached'} after an export of each`,
    );
    const actor = `database-owner:${await ownerOf(database)}`;
    const directory = flags.export ?? '';
    for (const partition of due) {
      const exportRows = (one: Partition) => exportPartition(database, directory, one);
      const options = { store, exportRows, how, actor, reason: flags.reason };
      const { rows, file, sha256 } = await retirePartition(options, partition);
      report(terminal, flags, partition, {
        state: how === 'drop' ? 'dropped' : 'detached',
        rows,
        file,
        sha256,
      });
    }
  };
  await withDatabase({ ...settings, databaseUrl: owner ?? settings.databaseUrl }, work, WORKING);
}

/** Null for a dry run. */
function howOf(
  { dryRun, detach, drop, export: directory }: RetentionFlags,
  command: Command,
): RetireHow | null {
  if (dryRun === true) return null;
  if (detach !== true && drop !== true) command.error('error: say --drop, --detach or --dry-run');
  if (directory === undefined) command.error('error: --export DIR says where the exports are to be');
  return drop === true ? 'drop' : 'detach';
}

function beforeOf({ olderThan, before }: RetentionFlags, now: number, command: Command): Date {
  if (before !== undefined) return new Date(parseWhen('--before', before, now));
  if (olderThan === undefined) command.error('error: say --older-than AGE or --before TIME');
  const months = MONTHS.exec(olderThan)?.[1];
  if (months === undefined) return new Date(parseWhen('--older-than', olderThan, now));
  const date = new Date(now);
  date.setUTCMonth(date.getUTCMonth() - Number(months));
  return date;
}

async function ownerOf(database: Database): Promise<string> {
  const [row] = await database.query<{ name: string }>('SELECT current_user AS name');
  return row?.name ?? '';
}

function report(
  terminal: Terminal,
  { json }: RetentionFlags,
  { name, from, to }: Partition,
  outcome: { state: string; why?: string; rows?: number; file?: string; sha256?: string },
): void {
  const { state, why, rows, file, sha256 } = outcome;
  if (json === true) {
    writeJson(terminal, { partition: name, from: from.toISOString(), to: to.toISOString(), ...outcome });
    return;
  }
  const counted = rows === undefined ? '' : `, ${rows} rows`;
  const where = file === undefined ? '' : ` in ${file} (SHA-256 ${sha256})`;
  writeLine(terminal, `${name}: ${state}${counted}${where}${why === undefined ? '' : `: ${why}`}`);
}
