import { type Bytes, concat, sha256 } from './bytes.ts';

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

/** MTH({d}) of RFC 6962 §2.1. */
export function leafHash(entry: Bytes): Promise<Bytes> {
  return sha256(concat(LEAF, entry));
}

/**
 * The root to which the proof leads from the leaf at `index` of `size` (RFC 9162 §2.1.3.2), to be compared with the
 * checkpoint's; null for a proof of another length than that leaf's.
 */
export async function rootByProof(
  index: number,
  size: number,
  leaf: Bytes,
  proof: readonly Bytes[],
): Promise<Bytes | null> {
  if (!(Number.isSafeInteger(index) && Number.isSafeInteger(size) && index >= 0 && index < size)) return null;
  let [node, last, hash] = [index, size - 1, leaf];
  for (const sibling of proof) {
    if (last === 0) return null;
    if (node % 2 === 1 || node === last) {
      hash = await sha256(concat(NODE, sibling, hash));
      while (node % 2 === 0 && node !== 0) [node, last] = [half(node), half(last)];
    } else hash = await sha256(concat(NODE, hash, sibling));
    [node, last] = [half(node), half(last)];
  }
  return last === 0 ? hash : null;
}

function half(count: number): number {
  return Math.floor(count / 2);
}
