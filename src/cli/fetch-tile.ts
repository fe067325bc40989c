import { setTimeout as sleep } from 'node:timers/promises';
import type { ReadTile } from '../audit/log/checked-tiles.ts';
import { HASH_BYTES } from '../audit/log/merkle.ts';
import { TILE_WIDTH } from '../audit/log/subtree.ts';
import { CarnetError } from '../errors.ts';

const TIMEOUT_MS = 30_000;
/** A server lets an address have 500 a second: whoever asks for more waits. */
const TRIES = 30;
const TOO_MANY = 429;
const MAX_WAIT_SECONDS = 10;
const TILE_BYTES = TILE_WIDTH * HASH_BYTES;

/** Tiles from whoever serves a log at `url`, such as `https://carnet.example/log` (C2SP tlog-tiles). */
export function tilesAt(url: string): ReadTile {
  const base = url.replace(/\/+$/, '');
  return async (path) => {
    for (let tries = 1; ; tries++) {
      const response = await fetch(`${base}/tile/${path}`, { signal: AbortSignal.timeout(TIMEOUT_MS) }).catch(
        (error: unknown) => {
          throw new CarnetError('unavailable', `${base} can't be reached: ${(error as Error).message}`, {
            cause: error,
          });
        },
      );
      if (response.ok) return readTile(response, `${base}/tile/${path}`);
      await response.body?.cancel();
      if (response.status !== TOO_MANY || tries === TRIES)
        throw new CarnetError(
          'unavailable',
          `${base}/tile/${path} answers ${response.status}: is ${base} a log?`,
        );
      await sleep(waitOf(response));
    }
  };
}

/** Whoever serves it is not trusted: no more is taken than a tile has. */
async function readTile(response: Response, url: string): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const piece of response.body ?? []) {
      bytes += piece.length;
      if (bytes > TILE_BYTES) throw new CarnetError('too_large', `${url} is longer than a tile`);
      pieces.push(piece);
    }
  } catch (error) {
    if (error instanceof CarnetError) throw error;
    throw new CarnetError('unavailable', `${url} was cut off: ${(error as Error).message}`, { cause: error });
  }
  return Buffer.concat(pieces);
}

/** In milliseconds; what is no number of seconds (RFC 9110 §10.2.3 has dates too) is one. */
function waitOf({ headers }: Response): number {
  const asked = headers.get('retry-after') ?? '';
  return 1000 * (/^\d{1,9}$/.test(asked) ? Math.min(MAX_WAIT_SECONDS, Number(asked)) : 1);
}
