import { readFile } from 'node:fs/promises';
import { text as readAll } from 'node:stream/consumers';
import { Command } from 'commander';
import { parse as parseYaml } from 'yaml';
import type { AppliedEntryBody, ApplyResultBody, EntryBody } from '../api/entries.ts';
import { CarnetError } from '../errors.ts';
import type { Client } from './client.ts';
import { confirm } from './confirm.ts';
import { clientOf, collect, type OperatorFlags, operatorCommand } from './operator.ts';
import { note, PROCESS_TERMINAL, printable, Table, type Terminal, writeJson, writeLine } from './output.ts';

interface CreateFlags extends OperatorFlags {
  readonly spiffeId: string;
  readonly selector: readonly string[];
  readonly dnsName?: readonly string[];
  readonly ttl?: string;
  readonly hint?: string;
  readonly federatesWith?: readonly string[];
  readonly id?: string;
}

interface ApplyFlags extends OperatorFlags {
  readonly file: string;
  readonly prune?: boolean;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
}

/** `carnet entry create|apply|list|delete`. */
export function entryCommand(terminal: Terminal = PROCESS_TERMINAL): Command {
  return new Command('entry')
    .description('registration entries: which selectors make which identity')
    .addCommand(createCommand(terminal))
    .addCommand(applyCommand(terminal))
    .addCommand(listCommand(terminal))
    .addCommand(deleteCommand(terminal));
}

function createCommand(terminal: Terminal): Command {
  return operatorCommand('create')
    .description('create one entry')
    .requiredOption('--spiffe-id <ID>', 'a path such as /web, or a whole SPIFFE ID; may hold {placeholders}')
    .requiredOption('--selector <SELECTOR>', 'must match; repeat for more, which all must', collect)
    .option('--dns-name <NAME>', 'DNS name in the certificate; repeatable', collect)
    .option('--ttl <DURATION>', "the certificate's lifetime (default: the server's --leaf-ttl)")
    .option(
      '--federates-with <DOMAIN>',
      "its holders get that trust domain's bundle too; repeatable",
      collect,
    )
    .option('--hint <TEXT>', 'what the identity is for, told to workloads that hold several')
    .option('--id <ID>', 'a stable name for the entry (default: one is made)')
    .addHelpText(
      'after',
      '\nExample: whoever runs as user 1000 is /web\n  $ carnet entry create --spiffe-id /web --selector unix:uid:1000 --dns-name web.internal --ttl 1h --id web',
    )
    .action(async (flags: CreateFlags) => {
      const body = {
        ...(flags.id === undefined ? {} : { id: flags.id }),
        spiffe_id: flags.spiffeId,
        selectors: flags.selector,
        dns_names: flags.dnsName ?? [],
        ...(flags.ttl === undefined ? {} : { ttl: flags.ttl }),
        ...(flags.hint === undefined ? {} : { hint: flags.hint }),
        ...(flags.federatesWith === undefined ? {} : { federates_with: flags.federatesWith }),
      };
      const entry = await clientOf(flags, terminal).post<EntryBody>('/v1/entries', body);
      if (flags.json === true) writeJson(terminal, entry);
      else writeLine(terminal, `created ${describe(entry)}`);
    });
}

function applyCommand(terminal: Terminal): Command {
  return operatorCommand('apply')
    .description('create and update entries as a file says')
    .requiredOption('-f, --file <FILE>', 'YAML or JSON, {entries: [...]}; - for stdin')
    .option('--prune', 'delete the entries that the file does not have')
    .option('--dry-run', 'change nothing; show what would change')
    .option('--yes', 'delete without asking')
    .addHelpText(
      'after',
      '\nExample: keep the entries in a file, see what would change, then change it\n  $ carnet entry apply -f entries.yaml --prune --dry-run\n  $ carnet entry apply -f entries.yaml --prune --yes',
    )
    .action(async (flags: ApplyFlags) => {
      const body = { entries: await readEntries(flags.file, terminal), prune: flags.prune === true };
      const client = clientOf(flags, terminal);
      if (flags.prune === true && flags.dryRun !== true && flags.yes !== true)
        await confirmDeletions(client, body, terminal);
      const result = await client.post<ApplyResultBody>('/v1/entries:apply', {
        ...body,
        dry_run: flags.dryRun === true,
      });
      if (flags.json === true) writeJson(terminal, result);
      else writeResult(terminal, result);
    });
}

function listCommand(terminal: Terminal): Command {
  return operatorCommand('list')
    .description('list the entries')
    .addHelpText('after', '\nExample:\n  $ carnet entry list --json | jq -r .spiffe_id')
    .action(async (flags: OperatorFlags) => {
      const table = new Table(terminal, ['ID', 'SPIFFE ID', 'SELECTORS', 'DNS NAMES', 'TTL', 'VERSION']);
      for await (const entries of clientOf(flags, terminal).pages<EntryBody>('/v1/entries'))
        if (flags.json === true) for (const entry of entries) writeJson(terminal, entry);
        else table.write(entries.map(entryRow));
    });
}

function deleteCommand(terminal: Terminal): Command {
  return operatorCommand('delete')
    .argument('<ID>', 'as carnet entry list shows it')
    .description('delete one entry: its certificates end by themselves and are not renewed')
    .addHelpText('after', '\nExample:\n  $ carnet entry delete web')
    .action(async (id: string, flags: OperatorFlags) => {
      const path = `/v1/entries/${encodeURIComponent(id)}`;
      const entry = await clientOf(flags, terminal).delete<EntryBody>(path);
      if (flags.json === true) writeJson(terminal, entry);
      else writeLine(terminal, `deleted ${describe(entry)}`);
    });
}

function entryRow(entry: EntryBody): string[] {
  return [
    entry.id,
    entry.spiffe_id,
    entry.selectors.join(' '),
    entry.dns_names.join(' ') || '-',
    entry.ttl ?? '-',
    String(entry.version),
  ];
}

function describe({ id, spiffe_id, version }: AppliedEntryBody): string {
  return printable(`${id}: ${spiffe_id}${version === null ? '' : ` (version ${version})`}`);
}

function writeResult(terminal: Terminal, result: ApplyResultBody): void {
  const would = result.dry_run ? 'would be ' : '';
  for (const entry of result.created) writeLine(terminal, `${would}created ${describe(entry)}`);
  for (const entry of result.updated) writeLine(terminal, `${would}updated ${describe(entry)}`);
  for (const entry of result.deleted) writeLine(terminal, `${would}deleted ${describe(entry)}`);
  writeLine(terminal, `${result.unchanged} unchanged`);
}

/** Reads the list out of a YAML or JSON file; what the entries say is the server's to judge. */
async function readEntries(file: string, terminal: Terminal): Promise<unknown> {
  const text = await (file === '-' ? readAll(terminal.stdin) : readFile(file, 'utf8')).catch(
    (error: Error) => {
      throw new CarnetError('not_found', `--file ${file}: ${error.message}`, { cause: error });
    },
  );
  let document: unknown;
  try {
    document = parseYaml(text);
  } catch (error) {
    throw new CarnetError('entry_invalid', `${file} is neither YAML nor JSON: ${(error as Error).message}`);
  }
  const entries = (document as { entries?: unknown } | null)?.entries;
  const others = Object.keys(document ?? {}).filter((key) => key !== 'entries');
  if (!Array.isArray(entries) || others.length > 0)
    throw new CarnetError('entry_invalid', `${file} must have a list named entries, and nothing beside it`);
  return entries;
}

/** Asks before anything is deleted. Throws `conflict` when nobody can be asked, or says no. */
async function confirmDeletions(client: Client, body: object, terminal: Terminal): Promise<void> {
  const { deleted } = await client.post<ApplyResultBody>('/v1/entries:apply', { ...body, dry_run: true });
  if (deleted.length === 0) return;
  for (const entry of deleted) note(terminal, `would be deleted: ${describe(entry)}`);
  await confirm(terminal, false, `${deleted.length} entries would be deleted`);
}
