import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { type CheckedExport, checkExport } from '../audit/check-export.ts';
import { parseManifest } from '../audit/export-manifest.ts';
import { checkWitnesses } from '../audit/log/cosignature.ts';
import { CarnetError } from '../errors.ts';
import { manifestPath } from './export-file.ts';
import { tilesAt } from './fetch-tile.ts';
import { note, printable, type Terminal, writeJson, writeLine } from './output.ts';
import {
  cosignatureBodies,
  describeCosignatures,
  type WitnessFlags,
  witnessPolicyOf,
} from './witness-policy.ts';

interface VerifyExportFlags extends WitnessFlags {
  readonly verifierKey?: string;
  /** Where the log's tiles are. */
  readonly log?: string;
  readonly json?: boolean;
}

/** Checks an export by its manifest, without a server. Throws `conflict` where it does not hold. */
export async function verifyExport(
  file: string,
  { verifierKey, json, log, ...flags }: VerifyExportFlags,
  terminal: Terminal,
): Promise<void> {
  const manifest = parseManifest(manifestPath(file), await readManifest(file));
  const checked = await checkExport(createReadStream(file), manifest, {
    pinnedKey: verifierKey?.trim() ?? null,
    tiles: log === undefined ? null : tilesAt(log),
  });
  const policy = witnessPolicyOf(flags);
  const cosignatures = policy === null ? [] : checkWitnesses(manifest.checkpoint, policy);
  const { records, size, sha256 } = manifest;
  if (json === true)
    writeJson(terminal, {
      ok: true,
      records,
      size,
      sha256,
      ...nameOf(checked),
      cosignatures: cosignatureBodies(cosignatures),
    });
  else writeLine(terminal, `${file} holds: ${records} records, ${saidOf(checked, size)}`);
  for (const { partition, rows, file: other, sha256: hash } of manifest.retired)
    note(
      terminal,
      printable(
        `it lacks ${rows} records of ${partition}, which its manifest says were taken out of the database into ${other} (SHA-256 ${hash}): that is not shown by it`,
      ),
    );
  if (json !== true && policy !== null)
    writeLine(terminal, `its checkpoint is cosigned by ${describeCosignatures(cosignatures)}`);
  if (verifierKey === undefined)
    note(
      terminal,
      `verified by the key in the manifest, ${manifest.verifier_key}: compare it with the one you kept, or give --verifier-key`,
    );
}

function nameOf({ byRecord, whole, byTiles }: CheckedExport) {
  return { by_record: byRecord, by_tiles: byTiles, whole };
}

function saidOf({ byRecord, whole, byTiles }: CheckedExport, size: number): string {
  if (whole) return `all that the log's first ${size} entries are of, as its checkpoint signs`;
  if (byTiles) return `each in the tree of ${size} entries that its checkpoint signs`;
  if (byRecord) return 'each what its own bytes say (with --log URL each is looked for in the log as well)';
  return 'its SHA-256 is that of the manifest (with --full it would be checked against the log)';
}

async function readManifest(file: string): Promise<string> {
  try {
    return await readFile(manifestPath(file), 'utf8');
  } catch (error) {
    throw new CarnetError('not_found', `${manifestPath(file)} cannot be read: it is needed`, {
      cause: error,
    });
  }
}
