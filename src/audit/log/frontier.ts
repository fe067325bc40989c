import { EMPTY_ROOT, type Hash, nodeHash, rootOf } from './merkle.ts';
import { hashSubtrees, type ReadNodes, subtreesOf, TILE_HEIGHT } from './subtree.ts';

/** A hash of a level of tiles above the leaves', now that all below it is there. */
export interface CompleteNode {
  readonly level: number;
  readonly index: number;
  readonly hash: Hash;
}

/** The right edge of a tree, to which leaves are added: all that is needed of it to know the root. */
export class Frontier {
  #size: number;
  /** Of the complete subtrees, largest first. */
  readonly #subtrees: Hash[];

  private constructor(size: number, subtrees: Hash[]) {
    this.#size = size;
    this.#subtrees = subtrees;
  }

  static empty(): Frontier {
    return new Frontier(0, []);
  }

  /** Of a tree of `size` leaves whose hashes are stored. */
  static async read(size: number, read: ReadNodes): Promise<Frontier> {
    if (size === 0) return Frontier.empty();
    return new Frontier(size, await hashSubtrees(subtreesOf({ start: 0, end: size }), read));
  }

  get size(): number {
    return this.#size;
  }

  get root(): Hash {
    return this.#size === 0 ? EMPTY_ROOT : rootOf(this.#subtrees);
  }

  /** Adds a leaf by its hash, and returns the nodes of tiles above it that it completes, lowest first. */
  push(leaf: Hash): CompleteNode[] {
    const completed: CompleteNode[] = [];
    let hash = leaf;
    let index = this.#size;
    for (let height = 1; index % 2 === 1; height++) {
      hash = nodeHash(this.#subtrees.pop() as Hash, hash);
      index = (index - 1) / 2;
      if (height % TILE_HEIGHT === 0) completed.push({ level: height / TILE_HEIGHT, index, hash });
    }
    this.#subtrees.push(hash);
    this.#size++;
    return completed;
  }
}
