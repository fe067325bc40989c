import { CarnetError } from '../../errors.ts';
import { equalBytes } from '../../x509/bytes.ts';
import { EMPTY_ROOT, type Hash, nodeHash } from './merkle.ts';
import { hashRanges, type LeafRange, type ReadNodes } from './subtree.ts';

/** A tree as a checkpoint tells of it. */
export interface Tree {
  readonly size: number;
  readonly root: Hash;
}

/** PATH(m, D[n]) of RFC 6962 §2.1.1: that the leaf at `index` is in the tree of `size` leaves. Lowest first. */
export async function proveInclusion(index: number, size: number, read: ReadNodes): Promise<Hash[]> {
  if (!isWithin(index, size))
    throw new CarnetError('invalid_argument', `there is no leaf ${index} in a tree of ${size}`);
  return hashRanges(inclusionPath(index, { start: 0, end: size }), read);
}

/** PROOF(m, D[n]) of RFC 6962 §2.1.2: that the tree of `from` leaves is how the tree of `to` begins. */
export async function proveConsistency(from: number, to: number, read: ReadNodes): Promise<Hash[]> {
  if (!(Number.isSafeInteger(from) && from > 0 && from <= to))
    throw new CarnetError('invalid_argument', `a tree of ${to} leaves cannot be shown to begin with ${from}`);
  return hashRanges(consistencyPath(from, { start: 0, end: to }, true), read);
}

/** Whether `proof` shows that `leaf` is at `index` of the tree (RFC 9162 §2.1.3.2). */
export function checkInclusion(
  index: number,
  leaf: Hash,
  { size, root }: Tree,
  proof: readonly Hash[],
): boolean {
  if (!isWithin(index, size)) return false;
  let [fn, sn] = [index, size - 1];
  let hash = leaf;
  for (const sibling of proof) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      hash = nodeHash(sibling, hash);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else hash = nodeHash(hash, sibling);
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && equalBytes(hash, root);
}

/** Whether `proof` shows that the tree `from` is how the tree `to` begins (RFC 9162 §2.1.4.2). */
export function checkConsistency(from: Tree, to: Tree, proof: readonly Hash[]): boolean {
  if (from.size === to.size) return proof.length === 0 && equalBytes(from.root, to.root);
  if (from.size > to.size) return false;
  if (from.size === 0) return proof.length === 0 && equalBytes(from.root, EMPTY_ROOT);
  let [fn, sn] = [from.size - 1, to.size - 1];
  while (fn % 2 === 1) [fn, sn] = [half(fn), half(sn)];
  // A tree that is one complete subtree is its own first hash.
  const [first, ...rest] = fn === 0 ? [from.root, ...proof] : proof;
  if (first === undefined) return false;
  let [older, newer] = [first, first];
  for (const sibling of rest) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      older = nodeHash(sibling, older);
      newer = nodeHash(sibling, newer);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else newer = nodeHash(newer, sibling);
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && equalBytes(older, from.root) && equalBytes(newer, to.root);
}

function inclusionPath(index: number, { start, end }: LeafRange): LeafRange[] {
  if (end - start === 1) return [];
  const middle = start + splitOf(end - start);
  const [left, right] = [
    { start, end: middle },
    { start: middle, end },
  ];
  return index < middle ? [...inclusionPath(index, left), right] : [...inclusionPath(index, right), left];
}

/** SUBPROOF: `known` while the older tree is what its verifier has the root of. */
function consistencyPath(size: number, { start, end }: LeafRange, known: boolean): LeafRange[] {
  if (size === end) return known ? [] : [{ start, end }];
  const middle = start + splitOf(end - start);
  const [left, right] = [
    { start, end: middle },
    { start: middle, end },
  ];
  return size <= middle
    ? [...consistencyPath(size, left, known), right]
    : [...consistencyPath(size, right, false), left];
}

/** The largest power of two below `count`, which is at least 2. */
function splitOf(count: number): number {
  return 2 ** (Math.ceil(Math.log2(count)) - 1);
}

function half(count: number): number {
  return Math.floor(count / 2);
}

function isWithin(index: number, size: number): boolean {
  return Number.isSafeInteger(index) && index >= 0 && index < size;
}
