import test from 'ava';
import fc from 'fast-check';
import { Frontier } from '../../../src/audit/log/frontier.ts';
import { EMPTY_ROOT, type Hash, leafHash } from '../../../src/audit/log/merkle.ts';
import {
  checkConsistency,
  checkInclusion,
  proveConsistency,
  proveInclusion,
} from '../../../src/audit/log/proof.ts';
import { errorCodeOf } from '../../../src/errors.ts';
import { leavesOf, path, storedBy, subproof, treeHash } from './definition.ts';

/** Beyond it all pairs take too long. */
const SMALL = 33;
/** Three levels of tiles, none of them whole. */
const LARGE = 66_000;
const SIZES = fc.integer({ min: 1, max: 1200 });

/** The leaves and roots that implementations of Certificate Transparency test with. */
const VECTOR_LEAVES = [
  '',
  '00',
  '10',
  '2021',
  '3031',
  '40414243',
  '5051525354555657',
  '606162636465666768696a6b6c6d6e6f',
];
const VECTOR_ROOTS = [
  '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d',
  'fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125',
  'aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77',
  'd37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7',
  '4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4',
  '76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef',
  'ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c',
  '5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328',
];

test('roots are those that other implementations publish for the same leaves', (t) => {
  const tree = Frontier.empty();
  t.is(hex(tree.root), hex(EMPTY_ROOT));
  for (const [i, leaf] of VECTOR_LEAVES.entries()) {
    tree.push(leafHash(Buffer.from(leaf, 'hex')));
    t.is(hex(tree.root), VECTOR_ROOTS[i] ?? '');
  }
});

test('a tree that grows leaf by leaf has the root of RFC 6962 §2.1 at each size', (t) => {
  const leaves = leavesOf(600);
  const tree = Frontier.empty();
  for (const [i, leaf] of leaves.entries()) {
    tree.push(leaf);
    if (i < 70 || i > 500) t.is(hex(tree.root), hex(treeHash(leaves.slice(0, i + 1))));
  }
});

test('the frontier read back from what is stored is the one that was built', async (t) => {
  for (const size of [0, 1, 2, 255, 256, 257, 65_535, 65_536, LARGE]) {
    const { tree, read } = storedBy(leavesOf(size));
    const again = await Frontier.read(size, read);
    t.deepEqual([again.size, hex(again.root)], [size, hex(tree.root)]);
    const [leaf] = leavesOf(1) as [Hash];
    t.deepEqual(again.push(leaf), tree.push(leaf));
    t.is(hex(again.root), hex(tree.root));
  }
});

test('proofs in every small tree are those of RFC 6962 §2.1.1 and §2.1.2, and hold', async (t) => {
  for (let size = 1; size <= SMALL; size++) {
    const leaves = leavesOf(size);
    const { tree, read } = storedBy(leaves);
    for (let index = 0; index < size; index++) {
      const proof = await proveInclusion(index, size, read);
      t.deepEqual(proof.map(hex), path(index, leaves).map(hex));
      t.true(checkInclusion(index, leaves[index] as Hash, tree, proof));
    }
    for (let from = 1; from <= size; from++) {
      const proof = await proveConsistency(from, size, read);
      t.deepEqual(proof.map(hex), subproof(from, leaves).map(hex));
      t.true(checkConsistency({ size: from, root: treeHash(leaves.slice(0, from)) }, tree, proof));
    }
  }
});

test('proofs in trees of several tiles are those of the definition', async (t) => {
  await fc.assert(
    fc.asyncProperty(SIZES, fc.nat(), fc.nat(), async (size, a, b) => {
      const leaves = leavesOf(size);
      const { tree, read } = storedBy(leaves);
      const [index, from] = [a % size, 1 + (b % size)];
      const inclusion = await proveInclusion(index, size, read);
      t.deepEqual(inclusion.map(hex), path(index, leaves).map(hex));
      t.true(checkInclusion(index, leaves[index] as Hash, tree, inclusion));
      const consistency = await proveConsistency(from, size, read);
      t.deepEqual(consistency.map(hex), subproof(from, leaves).map(hex));
      t.true(checkConsistency({ size: from, root: treeHash(leaves.slice(0, from)) }, tree, consistency));
    }),
    { numRuns: 30 },
  );
});

test('no proof holds with any hash changed, left out or added, nor for another leaf, place or tree', async (t) => {
  for (let size = 1; size <= 12; size++) {
    const leaves = leavesOf(size);
    const { tree, read } = storedBy(leaves);
    for (let index = 0; index < size; index++) {
      const leaf = leaves[index] as Hash;
      const proof = await proveInclusion(index, size, read);
      for (const bad of spoilt(proof)) t.false(checkInclusion(index, leaf, tree, bad));
      t.false(checkInclusion(index, leafHash(Buffer.from('another')), tree, proof));
      t.false(checkInclusion(index + 1, leaf, tree, proof));
      if (size > 1) t.false(checkInclusion((index + 1) % size, leaf, tree, proof));
      t.false(checkInclusion(index, leaf, { size, root: leaf.map((byte) => byte ^ 1) }, proof));
    }
    for (let from = 1; from <= size; from++) {
      const older = { size: from, root: treeHash(leaves.slice(0, from)) };
      const proof = await proveConsistency(from, size, read);
      for (const bad of spoilt(proof)) t.false(checkConsistency(older, tree, bad));
      t.false(checkConsistency({ size: from, root: older.root.map((byte) => byte ^ 1) }, tree, proof));
      t.false(checkConsistency(older, { size, root: tree.root.map((byte) => byte ^ 1) }, proof));
      t.false(checkConsistency({ size: size + 1, root: older.root }, tree, proof));
    }
  }
});

test('the empty tree is how every tree begins', (t) => {
  const { tree } = storedBy(leavesOf(5));
  t.true(checkConsistency({ size: 0, root: EMPTY_ROOT }, tree, []));
  t.false(checkConsistency({ size: 0, root: tree.root }, tree, []));
});

test('nothing is proved of leaves and trees that are not there', async (t) => {
  const { read } = storedBy(leavesOf(4));
  for (const index of [-1, 4, 1.5, Number.NaN])
    t.is(errorCodeOf(await t.throwsAsync(proveInclusion(index, 4, read))), 'invalid_argument');
  for (const from of [0, 5, -1])
    t.is(errorCodeOf(await t.throwsAsync(proveConsistency(from, 4, read))), 'invalid_argument');
});

/** Each hash changed in one bit, each left out, and one added at each end. */
function spoilt(proof: readonly Hash[]): Hash[][] {
  const extra = new Uint8Array(32);
  return [
    ...proof.map((_, i) =>
      proof.map((hash, j) => (i === j ? hash.map((byte, at) => (at === 7 ? byte ^ 4 : byte)) : hash)),
    ),
    ...proof.map((_, i) => proof.filter((_, j) => i !== j)),
    [...proof, extra],
    [extra, ...proof],
  ];
}

function hex(hash: Uint8Array): string {
  return Buffer.from(hash).toString('hex');
}
