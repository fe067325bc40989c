import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import { Option } from 'commander';
import type { LogBody } from '../api/log.ts';
import type { RetiredBody } from '../api/retention.ts';
import { EXPORT_KINDS } from '../audit/export.ts';
import { EXPORT_FORMATS } from '../audit/export-line.ts';
import { type ExportManifest, type ExportRequest, kindsOf } from '../audit/export-manifest.ts';
import { CarnetError, isRetryable } from '../errors.ts';
import type { Client } from './client.ts';
import { ExportFile } from './export-file.ts';
import { refuseShortened } from './instance.ts';
import { clientOf, type OperatorFlags, operatorCommand } from './operator.ts';
import { note, type Terminal, writeJson, writeLine } from './output.ts';
import { Progress } from './progress.ts';
import { parseWhen } from './times.ts';

/** Entries of one request: a few seconds, also where few of them fit. */
const WINDOW = 100_000;
/** In a row, without a record in between. */
const MAX_FAILURES = 10;
const BACKOFF_MS = 1_000;
const MAX_BACKOFF_MS = 15_000;

const FILTERS = ['identity', 'identityPrefix', 'instance', 'node', 'entry', 'authority'] as const;

interface ExportFlags extends OperatorFlags, Partial<Record<(typeof FILTERS)[number], string>> {
  readonly output: string;
  readonly format: string;
  readonly kind: string;
  readonly full?: boolean;
  readonly checkpoint?: string;
  readonly from?: string;
  readonly to?: string;
}

const HELP = `
Writes FILE, FILE.manifest.json (what was asked, counts, SHA-256, and the checkpoint that covers it) and FILE.sha256.
What is interrupted, by whatever, is in FILE.partial: the same command goes on with it. The same options and the same
checkpoint give the same bytes.

Examples:
  $ carnet audit export --output all.ndjson --full
  $ carnet audit export --output march.csv --format csv --kind issuances --from 2026-03-01 --to 2026-04-01
  $ carnet audit verify --export all.ndjson`;

/** `carnet audit export`. */
export function exportCommand(terminal: Terminal): Command {
  return operatorCommand('export')
    .description(
      'write history to a file, in the order of the log: everything, or what all given filters fit',
    )
    .requiredOption('--output <FILE>', 'where to')
    .addOption(new Option('--format <FORMAT>', 'how').choices(EXPORT_FORMATS).default('ndjson'))
    .addOption(new Option('--kind <KIND>', 'what').choices(Object.keys(EXPORT_KINDS)).default('all'))
    .option('--full', 'with certificates, evidence, and the very bytes that the log is of')
    .option('--checkpoint <FILE>', 'up to this checkpoint, as you kept it (default: the latest)')
    .option('--from <TIME>', 'recorded at or after: a date, a time, or how long ago')
    .option('--to <TIME>', 'recorded before')
    .option('--identity <ID>', 'issuances with this SPIFFE ID, or its path')
    .option('--identity-prefix <PREFIX>', 'issuances whose SPIFFE ID, or its path, begins so')
    .option('--instance <INSTANCE>', 'issuances of this container or process')
    .option('--node <NAME>', 'issuances that the agent of this node asked for')
    .option('--entry <ID>', 'issuances that this registration entry granted')
    .option('--authority <ID>', 'issuances that this authority signed')
    .addHelpText('after', HELP)
    .action((flags: ExportFlags) => exportTo(flags, terminal));
}

async function exportTo(flags: ExportFlags, terminal: Terminal): Promise<void> {
  const client = clientOf(flags, terminal);
  await using file = await ExportFile.open(flags.output, askedOf(flags), async () => ({
    request: requestOf(flags, terminal.clock()),
    checkpoint: await checkpointFor(flags, client),
    verifier_key: (await client.get<LogBody>('/v1/log')).verifier_key,
  }));
  if (file.records > 0) note(terminal, `going on after ${file.records} records`);
  const progress = new Progress(terminal, 'entries');
  const interrupt = new AbortController();
  const stop = (): void => interrupt.abort();
  process.once('SIGINT', stop);
  try {
    await fetchAll(client, file, interrupt.signal, (done) => progress.show(done, file.size));
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
    throw new CarnetError(
      'shutting_down',
      `stopped after ${file.records} records: repeat the command to go on`,
    );
  } finally {
    process.off('SIGINT', stop);
    progress.end();
  }
  const manifest = await file.finish(await retiredOf(file.start.request, client));
  if (flags.json === true) return writeJson(terminal, manifest);
  writeLine(
    terminal,
    `${manifest.records} records of the log's first ${manifest.size} entries are in ${flags.output} (SHA-256 ${manifest.sha256})`,
  );
  note(terminal, `check it by: ${manifest.check}`);
}

/** Goes on where an answer was cut off, and waits while the server is away or busy. */
async function fetchAll(
  client: Client,
  file: ExportFile,
  signal: AbortSignal,
  onProgress: (done: number) => void,
): Promise<void> {
  const { kind, ...query } = file.start.request;
  let failures = 0;
  for (let at = file.nextIndex; at < file.size; ) {
    const end = Math.min(file.size, at + WINDOW);
    const window = { ...query, size: String(file.size), from_index: String(at), to_index: String(end) };
    try {
      for await (const piece of client.stream(`/v1/export/${kind}`, window, signal)) {
        await file.append(piece);
        onProgress(Math.max(at, file.nextIndex));
        failures = 0;
      }
      at = end;
    } catch (error) {
      if (signal.aborted || !isRetryable(error) || ++failures > MAX_FAILURES) throw error;
      await file.rewind();
      at = Math.max(at, file.nextIndex);
      await sleep(Math.min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** (failures - 1)), undefined, { signal });
    }
  }
}

/** What it leaves out. */
async function retiredOf(request: ExportRequest, client: Client): Promise<ExportManifest['retired']> {
  const kinds: readonly string[] = kindsOf(request);
  const { items } = await client.get<{ items: RetiredBody[] }>('/v1/retention');
  return items
    .filter(({ export: { kind } }) => kinds.includes(kind))
    .map(({ partition, export: { rows, file, sha256 } }) => ({ partition, rows, file, sha256 }));
}

async function checkpointFor({ checkpoint }: ExportFlags, client: Client): Promise<string> {
  if (checkpoint === undefined) return client.text('/log/checkpoint');
  return readFile(checkpoint, 'utf8').catch((error: unknown) => {
    throw new CarnetError('not_found', `${checkpoint} cannot be read`, { cause: error });
  });
}

/** What makes it another export. */
function askedOf(flags: ExportFlags): Record<string, string> {
  if (flags.instance !== undefined) refuseShortened(flags.instance);
  const { kind, format, full, from, to, identity, identityPrefix, instance, node, entry, authority } = flags;
  const given = {
    ...{ kind, format, full: full === true ? 'true' : undefined, from, to },
    ...{ identity, identity_prefix: identityPrefix, instance, node, entry, authority },
  };
  return Object.fromEntries(
    Object.entries(given).filter((pair): pair is [string, string] => pair[1] !== undefined),
  );
}

function requestOf(flags: ExportFlags, now: number): ExportRequest {
  const { from, to } = flags;
  return {
    ...askedOf(flags),
    ...(from === undefined ? {} : { from: parseWhen('--from', from, now) }),
    ...(to === undefined ? {} : { to: parseWhen('--to', to, now) }),
  };
}
