import { hash } from 'node:crypto';

/** SHA-256 throughout (RFC 6962 §2.1). */
export type Hash = Uint8Array;

export const HASH_BYTES = 32;
/** Of the tree without leaves. */
export const EMPTY_ROOT: Hash = hash('sha256', new Uint8Array(0), 'buffer');

/** Leaves and nodes begin apart, so that no leaf can pass for a node. */
const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

/** MTH({d}) of RFC 6962 §2.1. */
export function leafHash(entry: Uint8Array): Hash {
  return hash('sha256', Buffer.concat([LEAF, entry]), 'buffer');
}

/** Of a node with two children. */
export function nodeHash(left: Hash, right: Hash): Hash {
  return hash('sha256', Buffer.concat([NODE, left, right]), 'buffer');
}

/** Of a tree, by the complete subtrees that it falls into, largest first: there is at least one. */
export function rootOf(subtrees: readonly Hash[]): Hash {
  return subtrees.reduceRight((right, left) => nodeHash(left, right));
}
