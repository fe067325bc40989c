import { createReadStream, existsSync } from 'node:fs';
import { mkdir, readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { checkExport } from '../audit/check-export.ts';
import { EXPORT_KINDS, exportText } from '../audit/export.ts';
import { type ExportManifest, type ExportRequest, formOf, parseManifest } from '../audit/export-manifest.ts';
import { formatVerifierKey } from '../audit/log/note.ts';
import { verifierOf } from '../audit/log-key.ts';
import type { Partition } from '../audit/retire.ts';
import { LeafDigest, type PartitionExport, spanOf } from '../audit/retired.ts';
import type { Database } from '../db/database.ts';
import { PostgresExportSource } from '../db/export-source.ts';
import { PostgresLog } from '../db/log.ts';
import { readLeaves } from '../db/retention.ts';
import { CarnetError } from '../errors.ts';
import { ExportFile, manifestPath, syncDirectory } from './export-file.ts';

const KINDS = { issuance: 'issuances', operator_event: 'operator-events' } as const;

/**
 * The file of exactly a partition's rows, full, in `directory`: made, gone on with, or found whole. It is read back from
 * the disk: each line must be of a leaf of the log, and together they must be all leaves of that time. Throws `conflict`
 * where that does not hold.
 */
export async function exportPartition(
  database: Database,
  directory: string,
  partition: Partition,
): Promise<PartitionExport> {
  const log = new PostgresLog(database);
  const [key, head] = [await log.key(), await log.head()];
  if (key === null || head === null)
    throw new CarnetError('not_found', 'the log has not begun: there is nothing to export');
  const verifierKey = formatVerifierKey(verifierOf(key));
  const file = join(directory, `${partition.name}.ndjson`);
  const request = requestOf(partition);
  const made = await mkdir(directory, { recursive: true, mode: 0o700 });
  for (let at = resolve(directory); made !== undefined && at.length >= resolve(made).length; at = dirname(at))
    await syncDirectory(dirname(at));
  if (!existsSync(file)) {
    const start = { request, checkpoint: head.note, verifier_key: verifierKey };
    await write(database, file, start);
  }
  const manifest = parseManifest(manifestPath(file), await readFile(manifestPath(file), 'utf8'));
  if (!isDeepStrictEqual(manifest.request, request))
    throw new CarnetError('conflict', `${file} is of something else: choose another directory`);
  const leaves = new LeafDigest();
  await checkExport(createReadStream(file), manifest, {
    pinnedKey: verifierKey,
    onLeaf: (_index, leaf) => leaves.add(leaf),
  });
  const exported = exportedOf(partition, manifest, leaves.hex());
  await compare(database, exported);
  return exported;
}

async function write(
  database: Database,
  path: string,
  start: { request: ExportRequest; checkpoint: string; verifier_key: string },
): Promise<void> {
  await using file = await ExportFile.open(path, { ...start.request }, async () => ({
    ...start,
    request: { ...start.request },
  }));
  const { request } = file.start;
  const { kind, from = '', to = '' } = request;
  const filter = {
    kinds: EXPORT_KINDS[kind as keyof typeof EXPORT_KINDS],
    from: new Date(from),
    to: new Date(to),
  };
  const range = { start: file.nextIndex, end: file.size };
  for await (const text of exportText(new PostgresExportSource(database), filter, formOf(request), range))
    await file.append(Buffer.from(text));
  await file.finish();
}

function requestOf({ kind, from, to }: Partition): ExportRequest {
  return {
    kind: KINDS[kind],
    format: 'ndjson',
    full: 'true',
    from: from.toISOString(),
    to: to.toISOString(),
  };
}

function exportedOf(
  { kind, from, to }: Partition,
  manifest: ExportManifest,
  leaves: string,
): PartitionExport {
  return {
    kind,
    from: from.toISOString(),
    to: to.toISOString(),
    rows: manifest.records,
    first_index: manifest.first_index,
    last_index: manifest.last_index,
    leaves_sha256: leaves,
    file: manifest.file,
    sha256: manifest.sha256,
  };
}

/** The file has all that the log has of that time, and nothing else. */
async function compare(database: Database, exported: PartitionExport): Promise<void> {
  const logged = new LeafDigest();
  const span = spanOf(exported);
  if (span !== null) await readLeaves(database, span, (leaf) => logged.add(leaf));
  if (logged.count !== exported.rows || logged.hex() !== exported.leaves_sha256)
    throw new CarnetError(
      'conflict',
      `${exported.file} is not what the log has of that time: run carnet audit verify, and export it anew`,
    );
}
