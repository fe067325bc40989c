import { z } from 'zod';
import { CarnetError } from '../errors.ts';
import { EXPORT_KINDS, type ExportKind } from './export.ts';
import { EXPORT_FORMATS, type LineForm } from './export-line.ts';
import type { EntryKind } from './log/entry.ts';

/** What was asked for: the kind, and the parameters of GET /v1/export/{kind} but `from_index` and `size`. */
export const ExportRequest = z
  .record(z.string(), z.string())
  .refine(({ kind = '' }) => Object.hasOwn(EXPORT_KINDS, kind))
  .refine(({ format = '' }) => EXPORT_FORMATS.some((one) => one === format));
export type ExportRequest = Readonly<Record<string, string>>;

/** What is to be known of an export, beside it. The same export of the same log has the same. */
export const ExportManifest = z.strictObject({
  format: z.literal('carnet-export-1'),
  /** Carnet's version. */
  carnet: z.string(),
  file: z.string(),
  request: ExportRequest,
  /** The entries of the log that it was made of: the first so many. */
  size: z.int(),
  records: z.int(),
  /** Months that are not in it, because they were taken out of the database before: where their records are. */
  retired: z.array(
    z.strictObject({
      partition: z.string(),
      rows: z.int().nonnegative(),
      file: z.string(),
      sha256: z.string(),
    }),
  ),
  first_index: z.int().nullable(),
  last_index: z.int().nullable(),
  bytes: z.int(),
  /** Of the file, hex. */
  sha256: z.string(),
  /** Of `size` entries: a signed note (C2SP tlog-checkpoint). */
  checkpoint: z.string(),
  verifier_key: z.string(),
  /** The command that checks it. */
  check: z.string(),
});
export type ExportManifest = z.output<typeof ExportManifest>;

/** Throws `invalid_argument`. */
export function parseManifest(name: string, text: string): ExportManifest {
  try {
    return ExportManifest.parse(JSON.parse(text));
  } catch (error) {
    throw new CarnetError('invalid_argument', `${name} is not the manifest of an export`, { cause: error });
  }
}

/** How the lines of an export are written. */
export function formOf({ format, full }: ExportRequest): LineForm {
  return { format: format === 'csv' ? 'csv' : 'ndjson', full: full === 'true' };
}

const OF_ISSUANCES = ['identity', 'identity_prefix', 'instance', 'node', 'entry', 'authority'];
const OF_TIME = ['from', 'to'];

/** The kinds of records that it can have. */
export function kindsOf(request: ExportRequest): readonly EntryKind[] {
  const narrowed = OF_ISSUANCES.some((name) => request[name] !== undefined);
  return narrowed ? EXPORT_KINDS.issuances : EXPORT_KINDS[request.kind as ExportKind];
}

/** Whether it has every record of the log, up to its size. */
export function isOfAll(request: ExportRequest): boolean {
  return request.kind === 'all' && [...OF_ISSUANCES, ...OF_TIME].every((name) => request[name] === undefined);
}
