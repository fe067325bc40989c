/** DER as a tree that can be cut, grafted and miswritten; apart from src/x509 on purpose. */
export interface Tree {
  tag: number;
  /** A constructed element's parts; null for a primitive one. */
  children: Tree[] | null;
  /** A primitive element's contents; of a BIT STRING that holds DER, only its count of unused bits. */
  value: Uint8Array;
  /** How the length is written: DER's way, too long, indefinite, or off by this much. */
  length: 'shortest' | 'padded' | 'indefinite' | number;
}

/** The tree of well-formed DER. */
export function parseTree(der: Uint8Array): Tree {
  const { tag, start, end } = header(der, 0);
  const value = der.subarray(start, end);
  if ((tag & 0x20) !== 0)
    return { tag, children: parseAll(value), value: new Uint8Array(), length: 'shortest' };
  const holdsDer = tag === 0x03 && value[1] === 0x30 && header(value, 1).end === value.length;
  return holdsDer
    ? { tag, children: parseAll(value.subarray(1)), value: value.subarray(0, 1), length: 'shortest' }
    : { tag, children: null, value, length: 'shortest' };
}

function parseAll(contents: Uint8Array): Tree[] {
  const trees: Tree[] = [];
  for (let at = 0; at < contents.length; ) {
    const { end } = header(contents, at);
    trees.push(parseTree(contents.subarray(at, end)));
    at = end;
  }
  return trees;
}

/** Where the contents of the element at `at` begin and end. */
export function header(der: Uint8Array, at: number): { tag: number; start: number; end: number } {
  const first = der[at + 1] ?? 0;
  const octets = first < 0x80 ? 0 : first & 0x7f;
  let length = octets === 0 ? first : 0;
  for (let i = 0; i < octets; i++) length = length * 256 + (der[at + 2 + i] ?? 0);
  const start = at + 2 + octets;
  return { tag: der[at] ?? 0, start, end: start + length };
}

export function writeTree(tree: Tree): Buffer {
  const contents = Buffer.concat([tree.value, ...(tree.children ?? []).map(writeTree)]);
  return Buffer.concat([
    Buffer.of(tree.tag),
    ...lengthOf(tree.length, contents.length),
    contents,
    ending(tree),
  ]);
}

export function copyTree(tree: Tree): Tree {
  return { ...tree, children: tree.children?.map(copyTree) ?? null };
}

/** Every element of the tree, from the outside to the inside. */
export function elementsOf(tree: Tree): Tree[] {
  return [tree, ...(tree.children ?? []).flatMap(elementsOf)];
}

function lengthOf(style: Tree['length'], length: number): Buffer[] {
  if (style === 'indefinite') return [Buffer.of(0x80)];
  if (style === 'padded') return [Buffer.of(0x83, length >> 16, (length >> 8) & 0xff, length & 0xff)];
  const written = Math.max(0, style === 'shortest' ? length : length + style);
  if (written < 0x80) return [Buffer.of(written)];
  if (written < 0x100) return [Buffer.of(0x81, written)];
  return [Buffer.of(0x82, written >> 8, written & 0xff)];
}

function ending({ length }: Tree): Buffer {
  return length === 'indefinite' ? Buffer.of(0, 0) : Buffer.alloc(0);
}
