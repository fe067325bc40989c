import { createHash } from 'node:crypto';
import { CarnetError } from '../errors.ts';
import { equalBytes } from '../x509/bytes.ts';
import { type LineWriter, type LoggedRecord, lineWriter, readFullLine } from './export-line.ts';
import { ExportLines } from './export-lines.ts';
import { type ExportManifest, formOf, isOfAll, kindsOf } from './export-manifest.ts';
import { CheckedTiles, type ReadTile } from './log/checked-tiles.ts';
import { openCheckpoint } from './log/checkpoint.ts';
import { Frontier } from './log/frontier.ts';
import type { Hash } from './log/merkle.ts';
import { parseVerifierKey } from './log/note.ts';

/** What is to be looked at besides the file. */
export interface CheckExportOptions {
  /** The key of the log, as it was kept; null to believe the manifest's. */
  readonly pinnedKey: string | null;
  /** Where the log's tiles are, for a full export that has not all of it; null to do without. */
  readonly tiles?: ReadTile | null;
  /** Called with the leaf hash of each record of a full export, in order. */
  readonly onLeaf?: (index: number, hash: Hash) => Promise<void> | void;
}

export interface CheckedExport {
  /** Each record is, to the byte, one that a leaf hash is of; else only the file's own hash was checked. */
  readonly byRecord: boolean;
  /** Each record is in the tree that the checkpoint signs, by the log's tiles. */
  readonly byTiles: boolean;
  /** All records of the log up to the checkpoint are there, and its root is of them. */
  readonly whole: boolean;
}

/**
 * Checks an export against its manifest: the signature of the checkpoint, the file's length, count and SHA-256; of a
 * full one also that each line is what its record says; and of one that has all of a log, that the checkpoint's tree is
 * of these records. Throws `invalid_argument` for a manifest that is malformed, `conflict` for what does not hold.
 */
export async function checkExport(
  pieces: AsyncIterable<Uint8Array>,
  manifest: ExportManifest,
  { pinnedKey, tiles: read, onLeaf }: CheckExportOptions,
): Promise<CheckedExport> {
  const { request, size } = manifest;
  const tree = openCheckpoint(manifest.checkpoint, parseVerifierKey(pinnedKey ?? manifest.verifier_key));
  if (tree.size !== size) throw refused(`the checkpoint is of ${tree.size} entries, not of ${size}`);
  const form = formOf(request);
  const lines = new ExportLines(form.format);
  const writer = lineWriter(kindsOf(request), form);
  const sha256 = createHash('sha256');
  const left = manifest.retired.reduce((sum, { rows }) => sum + rows, 0);
  if (isOfAll(request) && manifest.records + left !== size)
    throw refused(
      `of ${size} entries it has ${manifest.records}, and ${left} were taken out of the database before`,
    );
  const whole = form.full && isOfAll(request) && left === 0 ? Frontier.empty() : null;
  if (read != null && !form.full)
    throw new CarnetError('invalid_argument', 'only a full export can be held to the tiles of a log');
  const tiles = read == null ? null : new CheckedTiles(tree, read);
  let last = -1;
  let header = writer.header;
  for await (const piece of pieces) {
    sha256.update(piece);
    for (const line of lines.push(piece)) {
      if (!form.full) continue;
      const text = line.toString('utf8');
      if (header !== '') {
        if (text !== header) throw refused('its first line is not that of such an export');
        header = '';
        continue;
      }
      const { index, hash } = checkLine(text, writer, form.format);
      if (index <= last || index >= size) throw refused(`entry ${index} is out of place`);
      last = index;
      whole?.push(hash);
      if (tiles !== null && !equalBytes(await tiles.leaf(index), hash))
        throw refused(`entry ${index} is not the one that the log has there`);
      await onLeaf?.(index, hash);
    }
  }
  checkCounts(lines, manifest, sha256.digest('hex'));
  if (whole !== null && !(whole.size === size && equalBytes(whole.root, tree.root)))
    throw refused('its records are not those of the tree that the checkpoint signs');
  return { byRecord: form.full, byTiles: tiles !== null, whole: whole !== null };
}

function checkLine(
  text: string,
  writer: LineWriter,
  format: 'ndjson' | 'csv',
): { index: number; hash: Hash } {
  const logged = readFullLine(text, format);
  if (logged === null) throw refused(`a line is none of a full export: ${JSON.stringify(text.slice(0, 80))}`);
  if (written(writer, logged) !== text)
    throw refused(`entry ${logged.index} says something else than its record`);
  return { index: logged.index, hash: logged.leafHash };
}

/** Null for a record that nothing can be made of: a file may hold anything. */
function written(writer: LineWriter, logged: LoggedRecord): string | null {
  try {
    return writer.line(logged);
  } catch {
    return null;
  }
}

function checkCounts(lines: ExportLines, manifest: ExportManifest, sha256: string): void {
  if (!lines.isWhole) throw refused('its last line is not whole');
  for (const [what, found, said] of [
    ['bytes', lines.bytes, manifest.bytes],
    ['records', lines.count, manifest.records],
    ['first index', lines.firstIndex, manifest.first_index],
    ['last index', lines.lastIndex, manifest.last_index],
    ['SHA-256', sha256, manifest.sha256],
  ] as const)
    if (found !== said) throw refused(`${what}: ${found}, and the manifest says ${said}`);
}

function refused(why: string): CarnetError {
  return new CarnetError('conflict', `the export does not hold: ${why}`);
}
