import { createHash, type Hash } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { type FileHandle, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { ExportLines } from '../audit/export-lines.ts';
import { type ExportManifest, ExportRequest, formOf } from '../audit/export-manifest.ts';
import { openCheckpoint } from '../audit/log/checkpoint.ts';
import { parseVerifierKey } from '../audit/log/note.ts';
import { tryLock } from '../db/flock.ts';
import { CarnetError } from '../errors.ts';
import { VERSION } from '../version.ts';

/** What was decided when an export began: whatever is appended later is of the same. */
const ExportStart = z.strictObject({
  /** In the operator's own words, by which the same command is known again. */
  asked: z.record(z.string(), z.string()),
  request: ExportRequest,
  checkpoint: z.string(),
  verifier_key: z.string(),
});
export type ExportStart = z.output<typeof ExportStart>;

/** Identities and evidence are for those who may read the log. */
const MODE = 0o600;
const NO_SPACE = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** Beside an export's file. */
export function manifestPath(file: string): string {
  return `${file}.manifest.json`;
}

/**
 * The file of an export while it is made: `FILE.partial`, of whole lines, and beside it what was asked for. It may be left
 * at any time, by `kill -9` too, and gone on with. `finish` makes it FILE, with its manifest.
 */
export class ExportFile implements AsyncDisposable {
  readonly start: ExportStart;
  /** Of the log, by the checkpoint. */
  readonly size: number;
  readonly #file: string;
  readonly #handle: FileHandle;
  #lines: ExportLines;
  #sha256: Hash = createHash('sha256');

  private constructor(file: string, start: ExportStart, handle: FileHandle) {
    this.#file = file;
    this.start = start;
    this.size = sizeOf(start);
    this.#handle = handle;
    this.#lines = new ExportLines(formOf(start.request).format);
  }

  /**
   * Goes on with what is there of what was asked in the same words, or begins. Throws `already_exists` where FILE is whole already,
   * `conflict` where another process writes it, another export was begun there, or lines of nobody knows which.
   */
  static async open(
    file: string,
    asked: ExportStart['asked'],
    begin: () => Promise<Omit<ExportStart, 'asked'>>,
  ): Promise<ExportFile> {
    if (existsSync(file)) throw alreadyThere(file);
    const handle = await onDisk(file, () => open(partialPath(file), 'a+', MODE));
    try {
      await lock(handle, file);
    } catch (error) {
      await handle.close();
      throw error;
    }
    try {
      // Once, and never again: whatever ends a later run, what the lines are of stays known.
      const start = (await readStart(file, asked)) ?? (await writeStart(file, { asked, ...(await begin()) }));
      const made = new ExportFile(file, start, handle);
      await made.#readBack();
      return made;
    } catch (error) {
      await using _ = handle;
      if (!existsSync(startPath(file)) && (await handle.stat()).size === 0) await rm(partialPath(file));
      throw error;
    }
  }

  /** The entry of the log from which on records are wanted. */
  get nextIndex(): number {
    return this.#lines.lastIndex === null ? 0 : this.#lines.lastIndex + 1;
  }

  get records(): number {
    return this.#lines.count;
  }

  /** Writes what is whole by now. Throws `too_large` where there is no room, `unavailable` for what else fails. */
  async append(piece: Uint8Array): Promise<void> {
    const lines = Buffer.concat(this.#lines.push(piece));
    if (lines.length === 0) return;
    await onDisk(this.#file, () => this.#handle.appendFile(lines));
    this.#sha256.update(lines);
  }

  /** What came may have been cut off: the next piece begins at `nextIndex`. */
  async rewind(): Promise<void> {
    this.#lines.dropRest();
    // A header alone comes again.
    if (this.#lines.count === 0 && this.#lines.bytes > 0) await this.#empty();
  }

  /** Durable when it resolves. */
  async finish(retired: ExportManifest['retired'] = []): Promise<ExportManifest> {
    if (!this.#lines.isWhole)
      throw new CarnetError('unavailable', 'the export ended within a line: repeat the command');
    const manifest = this.#manifest(retired);
    await onDisk(this.#file, async () => {
      await this.#handle.sync();
      await writeDurably(manifestPath(this.#file), `${JSON.stringify(manifest, null, 2)}\n`);
      await writeDurably(`${this.#file}.sha256`, `${manifest.sha256}  ${manifest.file}\n`);
      await rename(partialPath(this.#file), this.#file);
      await rm(startPath(this.#file));
      await syncDirectory(dirname(this.#file));
    });
    return manifest;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }

  #manifest(retired: ExportManifest['retired']): ExportManifest {
    const file = basename(this.#file);
    const { request, checkpoint, verifier_key } = this.start;
    return {
      format: 'carnet-export-1',
      carnet: VERSION,
      file,
      request: { ...request },
      size: this.size,
      records: this.#lines.count,
      retired,
      first_index: this.#lines.firstIndex,
      last_index: this.#lines.lastIndex,
      bytes: this.#lines.bytes,
      sha256: this.#sha256.digest('hex'),
      checkpoint,
      verifier_key,
      check: `carnet audit verify --export ${file} --verifier-key '${verifier_key}'`,
    };
  }

  /** Counts and hashes what is there, and cuts off a line that was not finished. */
  async #readBack(): Promise<void> {
    const { size } = await this.#handle.stat();
    if (size === 0) return;
    for await (const piece of this.#handle.createReadStream({ start: 0, autoClose: false }))
      for (const line of this.#lines.push(piece)) this.#sha256.update(line);
    this.#lines.dropRest();
    if (this.#lines.count === 0) await this.#empty();
    else if (this.#lines.bytes < size) await this.#handle.truncate(this.#lines.bytes);
  }

  async #empty(): Promise<void> {
    await this.#handle.truncate(0);
    this.#lines = new ExportLines(formOf(this.start.request).format);
    this.#sha256 = createHash('sha256');
  }
}

/** Throws for a checkpoint that is not by the log's key. */
function sizeOf({ checkpoint, verifier_key }: ExportStart): number {
  return openCheckpoint(checkpoint, parseVerifierKey(verifier_key)).size;
}

/** Until it is closed. The one who had it before may have ended the export meanwhile, or given it up. */
async function lock(handle: FileHandle, file: string): Promise<void> {
  const partial = partialPath(file);
  if (!(await onDisk(file, async () => tryLock(handle.fd))))
    throw new CarnetError('conflict', `another process writes ${partial}: let it end`);
  const [held, named] = [await handle.stat(), statSync(partial, { throwIfNoEntry: false })];
  if (held.ino !== named?.ino)
    throw new CarnetError('conflict', `another process wrote ${partial} a moment ago: repeat the command`);
  if (!existsSync(file)) return;
  if (held.size === 0) await rm(partial);
  throw alreadyThere(file);
}

function alreadyThere(file: string): CarnetError {
  return new CarnetError('already_exists', `${file} is there already: choose another name`);
}

function partialPath(file: string): string {
  return `${file}.partial`;
}

function startPath(file: string): string {
  return `${file}.partial.json`;
}

async function readStart(file: string, asked: ExportStart['asked']): Promise<ExportStart | null> {
  if (!existsSync(startPath(file))) return null;
  const start = ExportStart.safeParse(parseJson(await readFile(startPath(file), 'utf8')));
  // Cut off while it was written: then nothing followed yet.
  if (!start.success) return null;
  if (!isDeepStrictEqual(start.data.asked, asked))
    throw new CarnetError(
      'conflict',
      `${partialPath(file)} was begun with other options: repeat them (${JSON.stringify(start.data.asked)}), or remove it and ${startPath(file)}`,
    );
  return start.data;
}

async function writeStart(file: string, start: ExportStart): Promise<ExportStart> {
  sizeOf(start);
  const partial = partialPath(file);
  if (existsSync(partial) && statSync(partial).size > 0)
    throw new CarnetError(
      'conflict',
      `${partial} has lines, and ${startPath(file)} does not say of what export: remove both`,
    );
  await onDisk(file, () => writeDurably(startPath(file), `${JSON.stringify(start)}\n`));
  return start;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

async function writeDurably(path: string, text: string): Promise<void> {
  await writeFile(path, text, { mode: MODE, flush: true });
}

/** So that what was made in it is there after a power cut. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path);
  await directory.sync().finally(() => directory.close());
}

async function onDisk<T>(file: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { code = '', message } = error as NodeJS.ErrnoException;
    if (NO_SPACE.has(code))
      throw new CarnetError(
        'too_large',
        `there is no room for ${file}: make some and repeat the command, which goes on where it ended`,
        { cause: error },
      );
    throw new CarnetError('invalid_argument', `${file} cannot be written: ${message}`, { cause: error });
  }
}
