import { hash } from 'node:crypto';

/** SHA-256 throughout (RFC 6962 §2.1). */
export type Hash = Uint8Array;

export const HASH_BYTES = 32;
/** Of the tree without leaves. */
export const EMPTY_ROOT: Hash = hash('sha256', new Uint8Array(0), 'buffer');

/** Leaves and nodes begin apart, so that no leaf can pass for a node. */
const LEAF = 0;
const NODE = 1;

/** Where a leaf is put together; whatever hashes is done when it returns. */
let leaf = Buffer.alloc(2048, LEAF);

/** MTH({d}) of RFC 6962 §2.1. */
export function leafHash(entry: Uint8Array): Hash {
  return leafHashOf([entry]);
}

/** The same of an entry in parts, which are copied once. */
export function leafHashOf(parts: readonly Uint8Array[]): Hash {
  const length = parts.reduce((sum, part) => sum + part.length, 1);
  if (leaf.length < length) leaf = Buffer.alloc(length * 2, LEAF);
  let at = 1;
  for (const part of parts) {
    leaf.set(part, at);
    at += part.length;
  }
  return sha256(leaf.subarray(0, length));
}

/** Where the children of a node are put together; whatever hashes is done when it returns. */
const children = Buffer.alloc(1 + 2 * HASH_BYTES, NODE);

/** Of a node with two children. */
export function nodeHash(left: Hash, right: Hash): Hash {
  children.set(left, 1);
  children.set(right, 1 + HASH_BYTES);
  return sha256(children);
}

/** By way of text, which takes Node 0.4 µs for a node; a buffer out of `hash` is an allocation outside of the heap: 1 µs. */
function sha256(bytes: Uint8Array): Hash {
  return Buffer.from(hash('sha256', bytes, 'binary'), 'binary');
}

/** Of a tree, by the complete subtrees that it falls into, largest first: there is at least one. */
export function rootOf(subtrees: readonly Hash[]): Hash {
  return subtrees.reduceRight((right, left) => nodeHash(left, right));
}
