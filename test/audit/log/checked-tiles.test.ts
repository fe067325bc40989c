import test from 'ava';
import { CheckedTiles } from '../../../src/audit/log/checked-tiles.ts';
import { parseTilePath } from '../../../src/audit/log/tile-path.ts';
import { errorCodeOf } from '../../../src/errors.ts';
import { leavesOf, storedBy } from './definition.ts';

/** The tiles of a log of these leaves, and how many were read. */
function tilesOf(size: number, change: (path: string, bytes: Buffer) => void = () => undefined) {
  const leaves = leavesOf(size);
  const { tree, read } = storedBy(leaves);
  const paths: string[] = [];
  const tiles = new CheckedTiles({ size, root: tree.root }, async (path) => {
    paths.push(path);
    const { level, index, width } = parseTilePath(path);
    const [hashes = []] = await read([{ level: Number(level), start: index * 256, count: width }]);
    const bytes = Buffer.concat(hashes);
    change(path, bytes);
    return bytes;
  });
  return { leaves, tiles, paths };
}

for (const size of [1, 2, 3, 255, 256, 257, 511, 512, 1305, 65_535, 65_536, 65_537, 66_000])
  test(`the leaves of a tree of ${size} are those of its tiles`, async (t) => {
    const { leaves, tiles, paths } = tilesOf(size);
    const asked = [0, 1, 255, 256, 300, size - 257, size - 256, size - 2, size - 1]
      .filter((index) => index >= 0 && index < size)
      .sort((a, b) => a - b);
    for (const index of asked) t.deepEqual(await tiles.leaf(index), leaves[index]);
    t.true(paths.length <= asked.length * 2 + 4);
    t.is(errorCodeOf(await t.throwsAsync(tiles.leaf(size))), 'invalid_argument');
  });

test('a bit that is changed in any tile on the way shows', async (t) => {
  const { tiles, paths, leaves } = tilesOf(66_000);
  t.deepEqual(await tiles.leaf(1000), leaves[1000]);
  for (const changed of paths)
    for (const place of [0, 31, -1]) {
      const spoilt = tilesOf(66_000, (path, bytes) => {
        const at = place < 0 ? bytes.length - 1 : place;
        if (path === changed) bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
      });
      t.is(errorCodeOf(await t.throwsAsync(spoilt.tiles.leaf(1000))), 'conflict', `${changed} at ${place}`);
    }
});
