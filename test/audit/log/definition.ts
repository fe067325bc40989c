import { Frontier } from '../../../src/audit/log/frontier.ts';
import { EMPTY_ROOT, type Hash, leafHash, nodeHash } from '../../../src/audit/log/merkle.ts';
import type { ReadNodes } from '../../../src/audit/log/subtree.ts';

/** MTH, PATH and PROOF as RFC 6962 §2.1 writes them down, over leaf hashes in memory. */
export function treeHash(leaves: readonly Hash[]): Hash {
  if (leaves.length === 0) return EMPTY_ROOT;
  if (leaves.length === 1) return leaves[0] as Hash;
  const k = split(leaves.length);
  return nodeHash(treeHash(leaves.slice(0, k)), treeHash(leaves.slice(k)));
}

export function path(m: number, leaves: readonly Hash[]): Hash[] {
  if (leaves.length === 1) return [];
  const k = split(leaves.length);
  const [left, right] = [leaves.slice(0, k), leaves.slice(k)];
  return m < k ? [...path(m, left), treeHash(right)] : [...path(m - k, right), treeHash(left)];
}

export function subproof(m: number, leaves: readonly Hash[], b = true): Hash[] {
  if (m === leaves.length) return b ? [] : [treeHash(leaves)];
  const k = split(leaves.length);
  const [left, right] = [leaves.slice(0, k), leaves.slice(k)];
  return m <= k
    ? [...subproof(m, left, b), treeHash(right)]
    : [...subproof(m - k, right, false), treeHash(left)];
}

function split(n: number): number {
  let k = 1;
  while (k * 2 < n) k *= 2;
  return k;
}

export function leavesOf(count: number): Hash[] {
  return Array.from({ length: count }, (_, i) => leafHash(Buffer.from(`entry ${i}`)));
}

/** What a log of these leaves has stored, made by adding one after the other. */
export function storedBy(leaves: readonly Hash[]): { tree: Frontier; read: ReadNodes } {
  const tree = Frontier.empty();
  const levels: Hash[][] = [[...leaves]];
  for (const leaf of leaves)
    for (const { level, index, hash } of tree.push(leaf)) {
      levels[level] ??= [];
      (levels[level] as Hash[])[index] = hash;
    }
  const read: ReadNodes = async (ranges) =>
    ranges.map(({ level, start, count }) => {
      const hashes = (levels[level] ?? []).slice(start, start + count);
      if (hashes.length !== count) throw new Error(`level ${level} lacks ${start} to ${start + count}`);
      return hashes;
    });
  return { tree, read };
}
