import { type Hash, nodeHash, rootOf } from './merkle.ts';

/** Leaves `start` to `end`, without `end`. */
export interface LeafRange {
  readonly start: number;
  readonly end: number;
}

/** A complete subtree: the 2^height leaves from index·2^height on. */
export interface Subtree {
  readonly height: number;
  readonly index: number;
}

/** Hashes side by side on one level of tiles: `level` 0 has the leaves', each above it one for 256 below. */
export interface NodeRange {
  readonly level: number;
  readonly start: number;
  readonly count: number;
}

/** Where a log's hashes are: answers one list for each range, in order, whole. */
export type ReadNodes = (ranges: readonly NodeRange[]) => Promise<readonly (readonly Hash[])[]>;

/** A tile is this many levels of the tree high (C2SP tlog-tiles). */
export const TILE_HEIGHT = 8;
export const TILE_WIDTH = 2 ** TILE_HEIGHT;

/**
 * The complete subtrees that a range falls into, largest first. The range begins where a subtree of at least its
 * length does, as all of RFC 6962's do.
 */
export function subtreesOf({ start, end }: LeafRange): Subtree[] {
  const found: Subtree[] = [];
  for (let at = start; at < end; ) {
    const height = Math.floor(Math.log2(end - at));
    found.push({ height, index: at / 2 ** height });
    at += 2 ** height;
  }
  return found;
}

/** The hash of each subtree, by what is stored. */
export async function hashSubtrees(subtrees: readonly Subtree[], read: ReadNodes): Promise<Hash[]> {
  const stored = await read(subtrees.map(nodesUnder));
  return stored.map(fold);
}

/** MTH of each range (RFC 6962 §2.1); none is empty. */
export async function hashRanges(ranges: readonly LeafRange[], read: ReadNodes): Promise<Hash[]> {
  const parts = ranges.map(subtreesOf);
  const hashes = await hashSubtrees(parts.flat(), read);
  let at = 0;
  return parts.map(({ length }) => {
    at += length;
    return rootOf(hashes.slice(at - length, at));
  });
}

/** The stored hashes that a subtree's is made of: those of the nearest level of tiles below it. */
function nodesUnder({ height, index }: Subtree): NodeRange {
  const count = 2 ** (height % TILE_HEIGHT);
  return { level: Math.floor(height / TILE_HEIGHT), start: index * count, count };
}

/** Of 2^n hashes side by side, the one above them all. */
function fold(hashes: readonly Hash[]): Hash {
  let level = hashes;
  while (level.length > 1)
    level = Array.from({ length: level.length / 2 }, (_, i) =>
      nodeHash(level[2 * i] as Hash, level[2 * i + 1] as Hash),
    );
  return level[0] as Hash;
}
