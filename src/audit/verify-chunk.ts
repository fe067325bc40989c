import { equalBytes } from '../x509/bytes.ts';
import { ENTRY_KINDS, type EntryKind, encodeEntry, placeOf } from './log/entry.ts';
import { type Hash, leafHashOf } from './log/merkle.ts';
import type { LoggedEntry, LogSource, Place } from './log-source.ts';
import type { SignedTree } from './log-store.ts';
import { isRetired, type RetiredSpan } from './retired.ts';

const KINDS = Object.keys(ENTRY_KINDS) as EntryKind[];
/** Some hundred bytes of memory each; enough that asking for them costs little beside reading them. */
const CHUNK = 4096;
/** Chunks that are read while others are hashed, each on connections of its own: what two CPUs are busy with. */
const AHEAD = 3;

/** Some entries side by side, compared with the rows that they stand for. */
export interface Chunk {
  readonly start: number;
  /** Of the entries that fit, up to the first that does not. */
  readonly leaves: readonly Hash[];
  readonly misfit: Misfit | null;
  /** Where the last entry is. */
  readonly last: Place | null;
  /** Those of more than `start` entries, up to the end. */
  readonly checkpoints: readonly SignedTree[];
}

/** What the log had before a chunk. */
interface Before {
  readonly size: number;
  /** Of the last entry; null to take the log's own word for it. */
  readonly last: Place | null;
}

/** In order from `before` on, each read while those before it are worked on. */
export async function* chunksOf(
  source: LogSource,
  before: Before,
  size: number,
  retired: readonly RetiredSpan[],
): AsyncGenerator<Chunk> {
  const reading: Promise<Chunk>[] = [];
  for (let start = before.size; start < size || reading.length > 0; start += CHUNK) {
    if (start < size) {
      const last = start === before.size ? before.last : null;
      const chunk = readChunk(source, { size: start, last }, Math.min(size, start + CHUNK), retired);
      // A failure counts when it is its turn, also where a fault before it ends everything.
      chunk.catch(() => undefined);
      reading.push(chunk);
    }
    if (start >= size || reading.length > AHEAD) yield await (reading.shift() as Promise<Chunk>);
  }
}

async function readChunk(
  source: LogSource,
  { size: start, last: known }: Before,
  end: number,
  retired: readonly RetiredSpan[],
) {
  const [[before, entries], checkpoints] = await Promise.all([
    readEntries(source, start, end),
    source.checkpoints(start, end),
  ]);
  const { inOrder, misfit } = orderly(entries, known ?? before, start, end);
  const rows = await readRows(source, known ?? before, inOrder);
  const { fitting, misfit: other } = compare(inOrder, rows, misfit, retired);
  const leaves = fitting.map(({ leafHash: leaf }) => leaf);
  return { start, leaves, misfit: other, last: inOrder.at(-1) ?? null, checkpoints };
}

/** The entry before `start`, if there is one, and those from it on. */
async function readEntries(
  source: LogSource,
  start: number,
  end: number,
): Promise<[LoggedEntry | null, LoggedEntry[]]> {
  const found = await source.entries(Math.max(0, start - 1), end);
  if (found[0]?.index === start - 1) return [found[0], found.slice(1)];
  return [null, found];
}

/** The entries up to the first that is missing or does not follow the one before it. */
function orderly(
  entries: readonly LoggedEntry[],
  before: Place | null,
  start: number,
  end: number,
): { inOrder: readonly LoggedEntry[]; misfit: Misfit | null } {
  let last = before;
  for (let i = 0; i < end - start; i++) {
    const entry = entries[i];
    if (entry?.index !== start + i)
      return { inOrder: entries.slice(0, i), misfit: new Misfit({ kind: 'no entry', index: start + i }) };
    if (last !== null && !isBehind(entry, last))
      return { inOrder: entries.slice(0, i), misfit: new Misfit({ kind: 'out of order', entry }) };
    last = entry;
  }
  return { inOrder: entries, misfit: null };
}

/** In the order of the log. */
export function isBehind(one: Place, other: Place): boolean {
  if (one.xact !== other.xact) return one.xact > other.xact;
  if (one.kind !== other.kind) return ENTRY_KINDS[one.kind] > ENTRY_KINDS[other.kind];
  return one.id > other.id;
}

/** A row as it is now. */
interface HashedRow extends Place {
  readonly recordedAtMicros: bigint;
  readonly leafHash: Hash;
}

/** The rows behind `after` up to the last entry, by kind: as many as entries, or one more, which then is one too many. */
async function readRows(
  source: LogSource,
  after: Place | null,
  entries: readonly LoggedEntry[],
): Promise<Record<EntryKind, HashedRow[]>> {
  const rows: Record<EntryKind, HashedRow[]> = { issuance: [], revocation: [], operator_event: [] };
  const to = entries.at(-1);
  if (to === undefined) return rows;
  const limit = entries.length + 1;
  await Promise.all(
    KINDS.map((kind) =>
      source.records({ kind, after, to, limit }, (record) =>
        rows[kind].push({ kind, ...placeOf(record), leafHash: leafHashOf(encodeEntry(kind, record)) }),
      ),
    ),
  );
  return rows;
}

/**
 * Each entry with its row, both in the order of the log. What an entry lacks goes before what is wrong with the order,
 * `disorder`, of which a row that has no entry may be a consequence.
 * Of an entry whose row is out of history by an export on record, its leaf hash is all that there is to be compared.
 */
function compare(
  entries: readonly LoggedEntry[],
  rows: Record<EntryKind, HashedRow[]>,
  disorder: Misfit | null,
  retired: readonly RetiredSpan[],
): { fitting: readonly LoggedEntry[]; misfit: Misfit | null } {
  const at: Record<EntryKind, number> = { issuance: 0, revocation: 0, operator_event: 0 };
  let extra: HashedRow | undefined;
  for (const [i, entry] of entries.entries()) {
    const ofKind = rows[entry.kind];
    let row = ofKind[at[entry.kind]];
    while (row !== undefined && isBehind(entry, row)) {
      extra ??= row;
      row = ofKind[++at[entry.kind]];
    }
    const kind = differenceOf(entry, row);
    if (kind === 'gone' && isRetired(retired, entry)) continue;
    if (kind !== null) return { fitting: entries.slice(0, i), misfit: new Misfit({ kind, entry }) };
    at[entry.kind]++;
  }
  extra ??= KINDS.map((kind) => rows[kind][at[kind]]).find((row) => row !== undefined);
  const passedOver = extra && new Misfit({ kind: 'no row in the log', row: extra });
  return { fitting: entries, misfit: disorder ?? passedOver ?? null };
}

function differenceOf(entry: LoggedEntry, row: HashedRow | undefined): 'gone' | 'changed' | null {
  if (row?.xact !== entry.xact || row.id !== entry.id || row.recordedAtMicros !== entry.recordedAtMicros)
    return 'gone';
  return equalBytes(row.leafHash, entry.leafHash) ? null : 'changed';
}

type What =
  | { readonly kind: 'no entry'; readonly index: number }
  | { readonly kind: 'out of order' | 'gone' | 'changed'; readonly entry: LoggedEntry }
  | { readonly kind: 'no row in the log'; readonly row: HashedRow };

/** The first entry or row of a chunk that does not fit. */
export class Misfit {
  readonly #what: What;

  constructor(what: What) {
    this.#what = what;
  }

  async inWords(source: LogSource): Promise<string> {
    const what = this.#what;
    switch (what.kind) {
      case 'no entry':
        return `entry ${what.index} is missing`;
      case 'no row in the log':
        return `${await source.describe(what.row)} is not in the log, though later ones are: it was inserted`;
      case 'out of order':
        return `entry ${what.entry.index}: ${await source.describe(what.entry)} is out of order`;
      case 'gone':
        return `entry ${what.entry.index}: ${await source.describe(what.entry)} is gone, or has another time or transaction`;
      case 'changed':
        return `entry ${what.entry.index}: ${await source.describe(what.entry)} was changed after it was logged, or its leaf hash was`;
    }
  }
}
