import { CarnetError } from '../../errors.ts';
import { equalBytes } from '../../x509/bytes.ts';
import { HASH_BYTES, type Hash, rootOf } from './merkle.ts';
import type { Tree } from './proof.ts';
import { hashSubtrees, subtreesOf, TILE_HEIGHT, TILE_WIDTH } from './subtree.ts';
import { formatTilePath } from './tile-path.ts';

/** Where tiles are, by the names that C2SP tlog-tiles gives them; from anybody, since each is held to the tree. */
export type ReadTile = (path: string) => Promise<Uint8Array>;

/**
 * The leaf hashes of a tree that a checkpoint signs, by tiles that nobody needs to be trusted for: those at the right edge
 * give the root, and every other is what a hash of the level above says of it.
 */
export class CheckedTiles {
  readonly #tree: Tree;
  readonly #read: ReadTile;
  /** Tiles that are not whole, by level: of these the tree has one at each level at most. */
  #edge: readonly (readonly Hash[])[] | null = null;
  /** The last one of each level: whoever asks goes from left to right. */
  readonly #whole = new Map<number, { readonly index: number; readonly hashes: readonly Hash[] }>();

  constructor(tree: Tree, read: ReadTile) {
    this.#tree = tree;
    this.#read = read;
  }

  /** Throws `conflict` where a tile is not of the tree, and what reading does. */
  async leaf(index: number): Promise<Hash> {
    if (!(index >= 0 && index < this.#tree.size))
      throw new CarnetError('invalid_argument', `there is no leaf ${index} in a tree of ${this.#tree.size}`);
    return this.#hash(0, index);
  }

  async #hash(level: number, index: number): Promise<Hash> {
    const tile = Math.floor(index / TILE_WIDTH);
    const hashes = await this.#tile(level, tile);
    return hashes[index % TILE_WIDTH] as Hash;
  }

  async #tile(level: number, index: number): Promise<readonly Hash[]> {
    this.#edge ??= await this.#readEdge();
    if (index === Math.floor(this.#count(level) / TILE_WIDTH)) return this.#edge[level] ?? [];
    const known = this.#whole.get(level);
    if (known?.index === index) return known.hashes;
    const hashes = await this.#fetch(level, index, TILE_WIDTH);
    const [root] = await hashSubtrees([{ height: TILE_HEIGHT, index: 0 }], async () => [hashes]);
    if (!equalBytes(root as Hash, await this.#hash(level + 1, index)))
      throw new CarnetError(
        'conflict',
        `tile ${formatTilePath({ level, index, width: TILE_WIDTH })} is not of the tree that the checkpoint signs`,
      );
    this.#whole.set(level, { index, hashes });
    return hashes;
  }

  async #readEdge(): Promise<(readonly Hash[])[]> {
    const edge: (readonly Hash[])[] = [];
    for (let level = 0; this.#count(level) > 0; level++) {
      const width = this.#count(level) % TILE_WIDTH;
      edge.push(
        width === 0 ? [] : await this.#fetch(level, Math.floor(this.#count(level) / TILE_WIDTH), width),
      );
    }
    const parts = await hashSubtrees(subtreesOf({ start: 0, end: this.#tree.size }), async (ranges) =>
      ranges.map(({ level, start, count }) =>
        (edge[level] ?? []).slice(start % TILE_WIDTH, (start % TILE_WIDTH) + count),
      ),
    );
    if (!equalBytes(rootOf(parts), this.#tree.root))
      throw new CarnetError('conflict', 'the tiles are not of the tree that the checkpoint signs');
    return edge;
  }

  /** How many hashes a level of tiles has. */
  #count(level: number): number {
    return Math.floor(this.#tree.size / 2 ** (level * TILE_HEIGHT));
  }

  async #fetch(level: number, index: number, width: number): Promise<Hash[]> {
    const path = formatTilePath({ level, index, width });
    const bytes = await this.#read(path);
    if (bytes.length !== width * HASH_BYTES)
      throw new CarnetError('conflict', `tile ${path} has ${bytes.length} bytes, not ${width * HASH_BYTES}`);
    return Array.from({ length: width }, (_, i) => bytes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES));
  }
}
