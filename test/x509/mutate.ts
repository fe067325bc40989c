import { copyTree, elementsOf, type Tree } from './der-tree.ts';

/** Numbers from 0 to 1 that are the same for the same seed, on every machine (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export type Random = () => number;

export function pick<T>(random: Random, items: readonly T[]): T {
  const item = items[Math.floor(random() * items.length)];
  if (item === undefined) throw new Error('nothing to pick from');
  return item;
}

const TAGS = [
  0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x0c, 0x13, 0x16, 0x17, 0x1f, 0x24, 0x30, 0x31, 0x80, 0xa0, 0xff,
];
const VALUES = [
  '',
  '00',
  '80',
  'ff',
  '0000',
  '7fffffffffffffff',
  'ff'.repeat(40),
  '2a864886f70d010101',
  '80'.repeat(40),
].map((hex) => Buffer.from(hex, 'hex'));
const MAX_DEPTH = 400;

type Mutation = (random: Random, element: Tree, donor: Tree) => void;

/** Each changes one element in place, as a hostile or broken encoder might. */
const MUTATIONS: readonly Mutation[] = [
  (random, element) => {
    element.tag = pick(random, TAGS);
  },
  (random, { children }) => {
    children?.splice(Math.floor(random() * children.length), 1);
  },
  (random, { children }) => {
    if (children !== null && children.length > 0) children.push(copyTree(pick(random, children)));
  },
  (random, { children }) => {
    children?.splice(Math.floor(random() * (children.length + 1)), 0, empty(pick(random, TAGS)));
  },
  (_, { children }) => {
    children?.reverse();
  },
  (random, element) => {
    const value = Buffer.from(element.value);
    const at = Math.floor(random() * value.length);
    value[at] = (value[at] ?? 0) ^ (1 << Math.floor(random() * 8));
    element.value = value;
  },
  (random, element) => {
    element.value = pick(random, VALUES);
  },
  (random, element) => {
    element.value = element.value.subarray(0, Math.floor(random() * element.value.length));
  },
  (random, element) => {
    element.value = Buffer.concat([element.value, pick(random, VALUES)]);
  },
  (_, element) => {
    element.value = Buffer.concat([Buffer.of(0), element.value]);
  },
  (_, element) => {
    element.length = 'padded';
  },
  (_, element) => {
    element.length = 'indefinite';
  },
  (random, element) => {
    element.length = pick(random, [-129, -2, -1, 1, 2, 127, 65_000]);
  },
  (random, element, donor) => {
    Object.assign(element, copyTree(pick(random, elementsOf(donor))));
  },
  (_, element) => {
    Object.assign(element, { ...empty(0x30), children: [copyTree(element)] });
  },
  (random, element) => {
    let nested = empty(0x30);
    for (let depth = random() * MAX_DEPTH; depth > 0; depth--)
      nested = { ...empty(0x30), children: [nested] };
    Object.assign(element, nested);
  },
];

/** A copy of `tree` with one mutation in one element, taken from among the given parts of it. */
export function mutate(random: Random, tree: Tree, donor: Tree): Tree {
  const copy = copyTree(tree);
  pick(random, MUTATIONS)(random, pick(random, elementsOf(copy)), donor);
  return copy;
}

function empty(tag: number): Tree {
  return { tag, children: (tag & 0x20) === 0 ? null : [], value: new Uint8Array(), length: 'shortest' };
}
