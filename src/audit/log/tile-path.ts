import { CarnetError } from '../../errors.ts';
import { TILE_HEIGHT, TILE_WIDTH } from './subtree.ts';

/** One tile of hashes, or one bundle of entries, as C2SP tlog-tiles names it. */
export interface TilePath {
  /** `entries` for the bundle of the entries whose hashes are tile `index` of level 0. */
  readonly level: number | 'entries';
  readonly index: number;
  /** How many it has: 256, or fewer for one that is not whole. */
  readonly width: number;
}

/** 2^63 leaves have eight levels of tiles. */
const MAX_LEVEL = 7;
/** Beyond them there would be more leaves than a double counts. */
const MAX_DIGITS = 15;
const PATH = /^(entries|\d{1,2})\/((?:x\d{3}\/)*\d{3})(?:\.p\/(\d{1,3}))?$/;

/** Parses what follows `tile/`: `0/x001/067`, `1/000.p/12`, `entries/000`. Throws `not_found` for any other text. */
export function parseTilePath(text: string): TilePath {
  const [, level = '', index = '', width] = PATH.exec(text) ?? [];
  const digits = index.replaceAll(/[x/]/g, '');
  const tile: TilePath = {
    level: level === 'entries' ? level : Number(level),
    index: Number(digits),
    width: width === undefined ? TILE_WIDTH : Number(width),
  };
  const isPartial = width !== undefined;
  if (
    digits.length > MAX_DIGITS ||
    (tile.level !== 'entries' && tile.level > MAX_LEVEL) ||
    (isPartial && (tile.width === 0 || tile.width >= TILE_WIDTH)) ||
    // Each has one name only.
    formatTilePath(tile) !== text
  )
    throw new CarnetError(
      'not_found',
      `${JSON.stringify(text.slice(0, 100))} names no tile (C2SP tlog-tiles)`,
    );
  return tile;
}

export function formatTilePath({ level, index, width }: TilePath): string {
  const groups = String(index)
    .padStart(Math.ceil(String(index).length / 3) * 3, '0')
    .match(/\d{3}/g) as string[];
  const name = groups.map((group, i) => (i < groups.length - 1 ? `x${group}` : group)).join('/');
  return `${level}/${name}${width === TILE_WIDTH ? '' : `.p/${width}`}`;
}

/** Every tile of hashes in a tree of `size` leaves. */
export function tilesOf(size: number): TilePath[] {
  const tiles: TilePath[] = [];
  for (let level = 0; ; level++) {
    const count = Math.floor(size / 2 ** (level * TILE_HEIGHT));
    if (count === 0) return tiles;
    for (let index = 0; index * TILE_WIDTH < count; index++)
      tiles.push({ level, index, width: Math.min(TILE_WIDTH, count - index * TILE_WIDTH) });
  }
}
